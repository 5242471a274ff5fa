import { openStore } from '../../src/storage/open.ts'
import { startS3Double } from '../servers/s3-double.ts'
import { startRcloneS3, startSeaweed } from '../servers/s3.ts'
import { describeStore } from './contract.ts'

describeStore('S3 on SeaweedFS', async () => {
  const server = await startSeaweed()
  return { open: () => openStore(server.url('pre fix/deep'), () => server.secret), stop: () => server.stop() }
})

describeStore(
  'S3 on rclone',
  async () => {
    const server = await startRcloneS3()
    return {
      open: () => openStore(server.url('', { checksums: 'required' }), () => server.secret),
      stop: () => server.stop(),
    }
  },
  // It ignores If-None-Match, and sends the whole object's checksum with a range of it (hence `required`).
  { exclusiveAcrossClients: false },
)

describeStore('S3 on our own double', async () => {
  const server = await startS3Double()
  return { open: () => openStore(server.url(), () => server.secret), stop: () => server.stop() }
})
