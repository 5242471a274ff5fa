import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll } from 'vitest'
import { openStore } from '../../src/storage/open.ts'
import { startSshd } from '../servers/sftp.ts'
import type { SftpServer } from '../servers/sftp.ts'
import { diskPlace } from './disk-uploader.ts'
import { sftpUploader } from './sftp-uploader.ts'
import { testUploads } from './suite.ts'

let server: SftpServer

beforeAll(async () => {
  server = await startSshd()
  for (const area of ['remote', 'local']) await mkdir(join(server.directory, area))
})
afterAll(() => server.stop())

const place = (area: string, url: string) =>
  diskPlace(
    join(server.directory, area),
    openStore(url, () => server.secret),
    () => sftpUploader(server, `${server.root}/${area}`),
  )

testUploads('over SFTP, looked at through SFTP', () => place('remote', server.url('remote')))
testUploads('over SFTP, looked at on the disk behind it', () =>
  place('local', `local:${join(server.directory, 'local')}`),
)
