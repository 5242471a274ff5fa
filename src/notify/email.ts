import { mkdir, writeFile } from 'node:fs/promises'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { createTransport } from 'nodemailer'
import { ReelkeepError } from '../domain/errors.ts'
import type { Mail, Notifier } from './notifier.ts'

/** Where mail goes: a server, a folder of .eml files, or (neither set) nowhere, which is an error that says so. */
export interface MailSettings {
  readonly smtpUrl: string | null
  readonly directory: string | null
  readonly from: string
}

/** Sends mail, text and HTML. */
export function createMailer({ smtpUrl, directory, from }: MailSettings): Notifier {
  const transport =
    smtpUrl === null
      ? createTransport({ streamTransport: true, buffer: true, newline: 'unix' })
      : createTransport(smtpUrl, {
          connectionTimeout: 10_000,
          greetingTimeout: 10_000,
          socketTimeout: 30_000,
        } as object)
  const compose = (mail: Mail) => ({
    from,
    to: { name: mail.to.name, address: mail.to.email },
    subject: mail.subject,
    text: mail.text,
    html: mail.html,
    messageId: `<${mail.messageId}>`,
    disableFileAccess: true,
    disableUrlAccess: true,
  })
  return {
    async send(mail) {
      if (smtpUrl === null && directory === null)
        throw new ReelkeepError(
          'mail_unavailable',
          'No mail can be sent: set SMTP_URL (or MAIL_DIR). It is tried again by itself.',
        )
      try {
        const info: unknown = await transport.sendMail(compose(mail))
        if (directory !== null && smtpUrl === null) await writeMail(directory, mail, info)
      } catch (error) {
        throw explainMailError(mail, error)
      }
    },
    close: async () => transport.close(),
  }
}

async function writeMail(directory: string, mail: Mail, info: unknown): Promise<void> {
  const message = typeof info === 'object' && info !== null && 'message' in info ? info.message : null
  if (!Buffer.isBuffer(message)) return
  await mkdir(directory, { recursive: true })
  await writeFile(
    join(directory, `${createHash('sha256').update(mail.messageId).digest('hex').slice(0, 24)}.eml`),
    message,
  )
}

function explainMailError(mail: Mail, error: unknown): ReelkeepError {
  const reply = error instanceof Error && 'responseCode' in error ? Number(error.responseCode) : 0
  const why = error instanceof Error ? error.message : String(error)
  // 5xx is the server's final word on this message; everything else may pass.
  return reply >= 500
    ? new ReelkeepError(
        'mail_rejected',
        `The mail server refused the mail to ${mail.to.email}: ${why}. Correct the address, then retry.`,
        { cause: error },
      )
    : new ReelkeepError(
        'mail_unavailable',
        `The mail to ${mail.to.email} could not be handed over: ${why}. It is tried again by itself.`,
        { cause: error },
      )
}
