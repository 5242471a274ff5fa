import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { composeNotice } from '../../src/domain/notice.ts'
import { createMailer } from '../../src/notify/email.ts'

const received: string[] = []
const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['STARTTLS'],
  onRcptTo({ address }, _session, done) {
    const refused = Object.assign(new Error('no such mailbox'), { responseCode: 550 })
    const busy = Object.assign(new Error('try later'), { responseCode: 451 })
    done(address.startsWith('nobody') ? refused : address.startsWith('busy') ? busy : null)
  },
  onData(stream, _session, done) {
    let text = ''
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
    stream.on('end', () => {
      received.push(text)
      done()
    })
  },
})
let smtpUrl = ''

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  smtpUrl = `smtp://127.0.0.1:${(server.server.address() as AddressInfo).port}`
})
afterAll(() => new Promise<void>((resolve) => server.close(() => resolve())))
beforeEach(() => received.splice(0))

const facts = {
  title: 'Optics <script>\r\nBcc: evil@example.test',
  recorderName: 'Hall "A"',
  link: 'http://127.0.0.1:1/recordings/1',
  retainUntilMs: Date.UTC(2030, 0, 2),
}
const mail = (email: string) => ({
  ...composeNotice('claim_wanted', facts),
  to: { name: 'Ada', email },
  messageId: 'claim_wanted.1@reelkeep',
})
const settings = (url: string) => ({ smtpUrl: url, directory: null, from: 'Reelkeep <keeper@example.test>' })

test('a mail arrives in text and HTML, with its link; a hostile title stays a title', async () => {
  const mailer = createMailer(settings(smtpUrl))
  await mailer.send(mail('ada@example.test'))
  await mailer.close()
  const [text = ''] = received
  const headers = text.slice(0, text.indexOf('\r\n\r\n'))
  expect(headers).not.toMatch(/^Bcc:/im)
  expect(headers).toContain('Message-ID: <claim_wanted.1@reelkeep>')
  expect(text).toMatch(/text\/plain/)
  expect(text).toMatch(/text\/html/)
  expect(text).toContain('http://127.0.0.1:1/recordings/1')
  expect(composeNotice('claim_wanted', facts).html).not.toContain('<script>')
})

test.each([
  ['nobody@example.test', 'mail_rejected'],
  ['busy@example.test', 'mail_unavailable'],
])('the server says no to %s: %s', async (email, code) => {
  const mailer = createMailer(settings(smtpUrl))
  await expect(mailer.send(mail(email))).rejects.toMatchObject({ code })
  await mailer.close()
})

test('a server that is away is tried again later; no server at all says which setting is missing', async () => {
  await expect(createMailer(settings('smtp://127.0.0.1:1')).send(mail('ada@example.test'))).rejects.toMatchObject({
    code: 'mail_unavailable',
  })
  const nowhere = createMailer({ smtpUrl: null, directory: null, from: 'x@example.test' })
  await expect(nowhere.send(mail('ada@example.test'))).rejects.toThrow(/SMTP_URL/)
})

test('without a server mail is kept as files, the same mail once', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'reelkeep-mail-'))
  const mailer = createMailer({ smtpUrl: null, directory, from: 'x@example.test' })
  await mailer.send(mail('ada@example.test'))
  await mailer.send(mail('ada@example.test'))
  const files = await readdir(directory)
  expect(files).toHaveLength(1)
  expect(await readFile(join(directory, files[0] ?? ''), 'utf8')).toContain('Subject: [Reelkeep] New recording: Optics')
  await rm(directory, { recursive: true })
})
