import { readdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from 'basic-ftp'
import type { FtpServer } from '../servers/ftp.ts'
import type { Abilities, Uploader } from './uploader.ts'

/** FTP appends or begins again; it cannot reserve space. */
export const ftpAbilities: Abilities = { visible: true, anywhere: false, times: true, rename: true }

interface Transfer {
  readonly path: string
  readonly stream: PassThrough
  /** Never rejects: a transfer that was cut fails on purpose. */
  readonly ended: Promise<Error | null>
}

/** How a client goes on with a file: `APPE` adds to it, `REST` and `STOR` make the server move it aside meanwhile. */
export type FtpResume = 'append' | 'rest'

/** A recorder's FTP client; closing its sockets in the middle of a transfer is what a killed one looks like. */
export function ftpUploader(server: FtpServer, resume: FtpResume): Uploader {
  let client: Client | null = null
  let transfer: Transfer | null = null
  const connected = async () => {
    if (client !== null && !client.closed) return client
    client = new Client(120_000)
    await client.access({ host: server.host, port: server.port, user: server.user, password: server.password })
    return client
  }
  const begin = async (path: string, from: number) => {
    const ftp = await connected()
    const stream = new PassThrough()
    // The server puts temporary files of its own into the directory its client is in.
    await ftp.cd(`/${dirname(path)}`)
    const name = basename(path)
    const directory = join(server.directory, dirname(path))
    const before = await countServersOwn(directory)
    const isAppended = from > 0 && resume === 'append'
    if (from > 0 && !isAppended) await ftp.send(`REST ${from}`)
    const job = isAppended ? ftp.appendFrom(stream, name) : ftp.uploadFrom(stream, name)
    const ended = job.then(
      () => null,
      (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
    )
    transfer = { path, stream, ended }
    const isEmpty = async () => (await stat(join(directory, name))).size === 0
    // Else what stood there before would be taken for the first bytes of what comes.
    if (from === 0)
      await until(`${path} to begin`, async () => (await countServersOwn(directory)) > before || isEmpty())
    return transfer
  }
  const finish = async () => {
    const open = transfer
    transfer = null
    open?.stream.end()
    const error = await open?.ended
    if (error) throw error
  }
  return {
    async send(path, bytes, from, to) {
      const open = transfer ?? (await begin(path, from))
      open.stream.write(bytes.subarray(from, to))
      await arrived(join(server.directory, path), to)
    },
    async restart(path) {
      await finish()
      await begin(path, 0)
    },
    reserve: () => Promise.reject(new Error('FTP reserves no space')),
    async cut() {
      const open = transfer
      transfer = null
      const directory = open === null ? null : dirname(join(server.directory, open.path))
      const before = directory === null ? 0 : await countServersOwn(directory)
      client?.close()
      client = null
      await open?.ended
      if (directory === null || before === 0) return
      // The server gives its temporary file the final name, whole or not.
      await until(`the end of ${directory}`, async () => (await countServersOwn(directory)) < before)
    },
    finish,
    async put(path, bytes) {
      await (await connected()).uploadFrom(Readable.from([bytes]), `/${path}`)
    },
    async rename(from, to) {
      await (await connected()).rename(`/${from}`, `/${to}`)
    },
    async truncate(path, bytes, sizeBytes) {
      await (await connected()).uploadFrom(Readable.from([bytes.subarray(0, sizeBytes)]), `/${path}`)
    },
    async setTime(path, time) {
      const digits = time.toISOString().replaceAll(/\D/g, '').slice(0, 14)
      await (await connected()).send(`MFMT ${digits} /${path}`)
    },
    async remove(path) {
      await (await connected()).remove(`/${path}`)
    },
    async close() {
      client?.close()
    },
  }
}

/** Waits until the server has written so many bytes, under the name itself or a temporary one beside it. */
async function arrived(path: string, sizeBytes: number): Promise<void> {
  const directory = dirname(path)
  await until(`${sizeBytes} bytes of ${path}`, async () => {
    const names = (await readdir(directory)).filter((name) => join(directory, name) === path || isServersOwn(name))
    const sizes = await Promise.all(names.map(async (name) => (await stat(join(directory, name))).size))
    return sizes.some((size) => size >= sizeBytes)
  })
}

const countServersOwn = async (directory: string) => (await readdir(directory)).filter(isServersOwn).length

const isServersOwn = (name: string) => name.startsWith('.pureftpd-upload.')

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000
  // A file can be renamed between its listing and its stat.
  while (!(await isSo().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await pause(10)
  }
}
