import { afterAll, beforeAll, describe } from 'vitest'
import { openLocalStore } from '../../src/storage/local.ts'
import { startPureFtpd } from '../servers/ftp.ts'
import type { FtpServer } from '../servers/ftp.ts'
import { diskPlace } from './disk-uploader.ts'
import { ftpAbilities, ftpUploader } from './ftp-uploader.ts'
import { testUploads } from './suite.ts'

// The daemon changes its root and its user.
describe.skipIf(process.getuid?.() !== 0).each([
  ['over FTP', false],
  ['over FTP into a daemon that replaces files at the end', true],
] as const)('%s', (what, atomic) => {
  let server: FtpServer

  beforeAll(async () => {
    server = await startPureFtpd({ atomic })
  })
  afterAll(() => server.stop())

  testUploads(what, () => ({
    ...diskPlace(server.directory, openLocalStore({ root: server.directory }), () =>
      ftpUploader(server, atomic ? 'rest' : 'append'),
    ),
    abilities: ftpAbilities,
    ownDirectories: true,
  }))
})
