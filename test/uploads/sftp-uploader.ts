import { once } from 'node:events'
import { Client } from 'ssh2'
import type { SFTPWrapper } from 'ssh2'
import type { SftpServer } from '../servers/sftp.ts'
import type { Uploader } from './uploader.ts'

type Done<T> = (error: Error | null | undefined, value: T) => void
const call = <T>(start: (done: Done<T>) => void) =>
  new Promise<T>((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))))
const act = (start: (done: (error: Error | null | undefined) => void) => void) =>
  call<void>((done) => start((error) => done(error)))

/** A recorder's own SFTP connection; destroying its socket is what a killed client looks like to the server. */
export function sftpUploader(server: SftpServer, directory: string): Uploader {
  let session: { readonly client: Client; readonly sftp: SFTPWrapper } | null = null
  let handle: Buffer | null = null
  const at = (path: string) => `${directory}/${path}`
  const connected = async () => {
    if (session !== null) return session.sftp
    const client = new Client()
    client.on('error', () => undefined)
    client.connect({
      host: server.host,
      port: server.port,
      username: server.user,
      privateKey: server.secret,
      readyTimeout: 60_000,
    })
    await once(client, 'ready')
    client.setNoDelay(true)
    session = { client, sftp: await call<SFTPWrapper>((done) => client.sftp(done)) }
    return session.sftp
  }
  const openFile = async (path: string, flags: 'w' | 'r+') => {
    const sftp = await connected()
    return call<Buffer>((done) => sftp.open(at(path), flags, done))
  }
  const inPlace = async (path: string) => (handle ??= await openFile(path, 'r+').catch(async () => openFile(path, 'w')))
  const finish = async () => {
    const open = handle
    handle = null
    if (open !== null) await act((done) => session?.sftp.close(open, done))
  }
  return {
    async send(path, bytes, from, to) {
      const open = await inPlace(path)
      await act((done) => session?.sftp.write(open, bytes, from, to - from, from, done))
    },
    async restart(path) {
      await finish()
      handle = await openFile(path, 'w')
    },
    async reserve(path, sizeBytes) {
      const open = await inPlace(path)
      await act((done) => session?.sftp.fsetstat(open, { size: sizeBytes }, done))
    },
    async cut() {
      const closed = session === null ? null : once(session.client, 'close')
      session?.client.destroy()
      session = null
      handle = null
      await closed
    },
    finish,
    async put(path, bytes) {
      const sftp = await connected()
      await act((done) => sftp.writeFile(at(path), bytes, done))
    },
    async rename(from, to) {
      const sftp = await connected()
      await act((done) => sftp.rename(at(from), at(to), done))
    },
    async truncate(path, _bytes, sizeBytes) {
      const sftp = await connected()
      await act((done) => sftp.setstat(at(path), { size: sizeBytes }, done))
    },
    async setTime(path, time) {
      const sftp = await connected()
      await act((done) => sftp.utimes(at(path), time, time, done))
    },
    async remove(path) {
      const sftp = await connected()
      await act((done) => sftp.unlink(at(path), done))
    },
    async close() {
      session?.client.end()
      session = null
    },
  }
}
