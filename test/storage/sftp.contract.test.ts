import { openStore } from '../../src/storage/open.ts'
import { startRcloneSftp, startSshd } from '../servers/sftp.ts'
import { describeStore } from './contract.ts'

describeStore('SFTP on OpenSSH', async () => {
  const server = await startSshd()
  return { open: () => openStore(server.url(), () => server.secret), stop: () => server.stop() }
})

describeStore(
  'SFTP on rclone',
  async () => {
    const server = await startRcloneSftp()
    return { open: () => openStore(server.url(), () => server.secret), stop: () => server.stop() }
  },
  // Its rename overwrites, and it shows control characters as pictures of them.
  { exclusiveAcrossClients: false, refusesNames: ['newline', 'control'] },
)
