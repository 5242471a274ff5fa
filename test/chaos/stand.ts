import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { SMTPServer } from 'smtp-server'
import { inject } from 'vitest'
import type { OraclePlace } from '../oracle/judge.ts'
import { startFaultProxy } from '../servers/fault-proxy.ts'
import type { FaultProxy, ProxyFaultKind, ProxyPlan } from '../servers/fault-proxy.ts'
import { startS3Double } from '../servers/s3-double.ts'
import type { S3Double } from '../servers/s3-double.ts'
import { startSeaweed } from '../servers/s3.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { startWorld } from '../setup/world.ts'
import type { World } from '../setup/world.ts'
import { deposit, describeBucket, hastyPolicy } from './system.ts'

/** The ports of a whole system, each of which can be made to fail. */
export type Port = 'inbox' | 'primary' | 'backup' | 'smtp' | 'postgres' | 'temporal'

/** A mail that arrived. */
export interface ArrivedMail {
  readonly messageId: string
  readonly to: string
}

/** A whole system whose workers reach everything through proxies, while the test looks past them. */
export interface ChaosStand {
  readonly world: World
  readonly proxies: Readonly<Record<Port, FaultProxy>>
  readonly double: S3Double | null
  readonly mails: readonly ArrivedMail[]
  /** Its places by the doors behind every fault. */
  readonly places: readonly OraclePlace[]
  /** Uploads as a recorder does: under a temporary name, then renamed. */
  upload(bytes: Buffer, path: string): Promise<void>
  stop(): Promise<void>
}

/** Starts it, healthy. */
export async function startChaosStand(seed: number, primaryKind: 'double' | 'seaweed'): Promise<ChaosStand> {
  const double = primaryKind === 'double' ? await startS3Double() : null
  const [inbox, backup, primary, smtp] = await Promise.all([
    startSshd(),
    startSshd(),
    double ?? startSeaweed(),
    startMailServer(),
  ])
  const postgres = new URL(inject('appUrl'))
  const [temporalHost = '', temporalPort = ''] = inject('temporalAddress').split(':')
  const through = (name: Port, host: string, port: number) => startFaultProxy({ to: { host, port }, seed, name })
  const proxies: Record<Port, FaultProxy> = {
    inbox: await through('inbox', inbox.host, inbox.port),
    primary: await through('primary', '127.0.0.1', Number(new URL(primary.endpoint).port)),
    backup: await through('backup', backup.host, backup.port),
    smtp: await through('smtp', '127.0.0.1', smtp.port),
    postgres: await through('postgres', postgres.hostname, Number(postgres.port)),
    temporal: await through('temporal', temporalHost, Number(temporalPort)),
  }
  const at = (server: SftpServer, name: string, { port }: FaultProxy) =>
    server.url().replace(server.secretName, name).replace(`:${server.port}/`, `:${port}/`)
  const world = await startWorld({
    policy: hastyPolicy,
    urls: {
      inbox: at(inbox, 'INBOX', proxies.inbox),
      primary: primary.url('kept', { endpoint: `http://127.0.0.1:${proxies.primary.port}` }),
      backup: at(backup, 'BACKUP', proxies.backup),
    },
    env: {
      REELKEEP_SECRET_INBOX: inbox.secret,
      REELKEEP_SECRET_BACKUP: backup.secret,
      [`REELKEEP_SECRET_${primary.secretName}`]: primary.secret,
      SMTP_URL: `smtp://127.0.0.1:${proxies.smtp.port}`,
      MAIL_DIR: '',
    },
    through: { postgres: proxies.postgres.port, temporal: proxies.temporal.port },
  })
  return {
    world,
    proxies,
    double,
    mails: smtp.mails,
    places: [
      { name: 'inbox', role: 'inbox', site: 'a', kind: 'directory', path: inbox.directory },
      { name: 'primary', role: 'primary', site: 'a', ...describeBucket(primary, 'kept', double?.plainEndpoint) },
      { name: 'backup', role: 'backup', site: 'b', kind: 'directory', path: backup.directory },
    ],
    upload: (bytes, path) => deposit(join(inbox.directory, path), bytes, 'rename'),
    async stop() {
      for (const proxy of Object.values(proxies)) proxy.heal()
      await world.stop()
      for (const proxy of Object.values(proxies)) await proxy.stop()
      await Promise.all([inbox.stop(), backup.stop(), primary.stop(), smtp.stop()])
    },
  }
}

async function startMailServer() {
  const mails: ArrivedMail[] = []
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData(stream, session, done) {
      let text = ''
      stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
      stream.on('end', () => {
        const messageId = /^Message-ID:\s*<([^>]*)>/im.exec(text)?.[1] ?? ''
        for (const { address } of session.envelope.rcptTo) mails.push({ messageId, to: address })
        done()
      })
    },
  })
  // Sessions that the proxy breaks are no news.
  server.on('error', () => undefined)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    mails,
    port: (server.server.address() as AddressInfo).port,
    stop: () => new Promise<void>((resolve) => server.close(() => resolve())),
  }
}

/*
 * What one fails of a protocol's unit of work, so that about 20 % of the units fail:
 *
 * - SFTP: a connection is about 8 bursts, an operation 2 to 6 more; units are operations with their share of connects.
 * - SMTP: a mail is 8 bursts from greeting to QUIT.
 * - Postgres: a transaction is BEGIN, settings, 1 to 6 statements, COMMIT. The answer to COMMIT is lost like any other.
 * - S3: a request is one burst.
 * - Temporal: HTTP/2 carries everything on a handful of connections; one of them is hurt at a pace. Its client then
 *   rests for seconds, so a faster pace would leave it no time for anything.
 *
 * Bits are turned over only where the protocol itself notices it: SSH has a MAC, S3's client checks CRCs of small bodies.
 */
const quick: readonly ProxyFaultKind[] = ['drop', 'stall', 'cut', 'lose_answer']

/** The plan of each port for 20 %. A half-open peer costs its client half a minute, so there are fewer of them. */
export const twentyPercent: Readonly<Record<Port, ProxyPlan>> = {
  inbox: { rate: 0.04, kinds: [...quick, 'slow', 'flip', 'half_open'], stallMs: 2000 },
  backup: { rate: 0.04, kinds: [...quick, 'slow', 'flip', 'half_open'], stallMs: 2000 },
  primary: {
    rate: 0.2,
    kinds: ['drop', 'stall', 'cut', 'slow', 'lose_answer'],
    stallMs: 2000,
    bytesPerSecond: 200_000,
  },
  smtp: { rate: 0.03, kinds: ['drop', 'stall', 'cut', 'half_open', 'lose_answer'], stallMs: 2000 },
  postgres: { rate: 0.03, kinds: [...quick, ...quick, 'half_open'], stallMs: 2000 },
  temporal: { everyMs: 10_000, kinds: ['cut', 'stall', 'cut', 'stall', 'cut', 'half_open'], stallMs: 5000 },
}
