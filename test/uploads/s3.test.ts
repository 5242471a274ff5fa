import { afterAll, beforeAll } from 'vitest'
import { openStore } from '../../src/storage/open.ts'
import { startSeaweed } from '../servers/s3.ts'
import type { S3Server } from '../servers/s3.ts'
import { s3Place } from './s3-uploader.ts'
import { testUploads } from './suite.ts'

let server: S3Server

beforeAll(async () => {
  server = await startSeaweed()
})
afterAll(() => server.stop())

testUploads('into a bucket', () =>
  s3Place(
    server,
    'inbox',
    openStore(server.url('inbox'), () => server.secret),
  ),
)
