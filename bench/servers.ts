import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { findOnPath, runCommand } from '../src/dev/commands.ts'
import { choosePorts } from '../src/dev/processes.ts'
import { startService } from '../src/dev/supervisor.ts'
import { findWheelBinary } from '../src/dev/wheel.ts'
import type { BenchContext } from './context.ts'

/** One place that both sides copy to. */
export interface Target {
  readonly name: string
  /** A store URL below which everything named `folder` lies. */
  url(folder: string): string
  /** The same place as rclone says it. */
  remote(folder: string): string
  /** Settings that rclone reads for that remote. */
  readonly env: NodeJS.ProcessEnv
  readonly secret: string
}

const accessKeyId = 'reelkeep-bench'
const secretAccessKey = 'not-a-secret-at-all'

/** SeaweedFS with an empty bucket, or null where it was never downloaded. Stopped at the end of the run. */
export async function startS3(context: BenchContext, rclone: string): Promise<Target | null> {
  const weed = await findWheelBinary('seaweedfs', context.cacheDir)
  if (weed === null) return null
  const home = join(context.folder, 'seaweed')
  await mkdir(home)
  const names = ['s3.port', 'master.port', 'volume.port', 'filer.port']
  const flags = [...names, ...names.map((name) => `${name}.grpc`)]
  const ports = await choosePorts(
    context.runDir,
    'seaweed',
    flags.map(() => undefined),
  )
  const endpoint = `http://127.0.0.1:${ports[0]}`
  const env = {
    RCLONE_CONFIG: join(context.folder, 'none.conf'),
    RCLONE_CONFIG_BENCH_TYPE: 's3',
    RCLONE_CONFIG_BENCH_PROVIDER: 'SeaweedFS',
    RCLONE_CONFIG_BENCH_ENDPOINT: endpoint,
    RCLONE_CONFIG_BENCH_ACCESS_KEY_ID: accessKeyId,
    RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY: secretAccessKey,
  }
  const listen = ['-ip=127.0.0.1', '-ip.bind=127.0.0.1', '-s3', '-filer']
  const service = await startService({
    name: 'seaweed',
    command: weed,
    args: ['server', `-dir=${home}`, ...listen, ...flags.map((flag, index) => `-${flag}=${ports[index]}`)].concat(
      '-master.volumeSizeLimitMB=1024',
      '-volume.max=20',
      '-s3.port.iceberg=0',
      '-s3.port.lance=0',
    ),
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    ports,
    runDir: context.runDir,
    logFile: join(context.folder, 'logs', 'seaweed.log'),
    // Answering is not enough: the first write must find a volume.
    ready: async () =>
      (await runCommand(rclone, ['touch', 'bench:store/ready'], { env, timeoutMs: 10_000 })).code === 0,
    readyTimeoutMs: 60_000,
    say: context.say,
  })
  context.onEnd(() => service.stop())
  const query = new URLSearchParams({ endpoint, region: 'us-east-1', secret: 'BENCH' }).toString()
  return {
    name: 'S3 (SeaweedFS)',
    url: (folder) => `s3://store/${folder}?${query}`,
    remote: (folder) => `bench:store/${folder}`,
    env,
    secret: `${accessKeyId}:${secretAccessKey}`,
  }
}

/** OpenSSH's server with SFTP only, or null where it is not installed. Stopped at the end of the run. */
export async function startSftp(context: BenchContext): Promise<Target | null> {
  const sshd = (await findOnPath('sshd')) ?? (await findOnPath('/usr/sbin/sshd'))
  if (sshd === null) return null
  const home = join(context.folder, 'sshd')
  await mkdir(join(home, 'data'), { recursive: true })
  for (const key of ['host_key', 'user_key'])
    await runCommand('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(home, key)])
  await copyFile(join(home, 'user_key.pub'), join(home, 'authorized_keys'))
  const [port = 0] = await choosePorts(context.runDir, 'sshd', [undefined])
  await writeFile(join(home, 'sshd_config'), sshdConfig(home, port))
  // As root the server insists on this directory, which only the init script makes.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const service = await startService({
    name: 'sshd',
    command: sshd,
    args: ['-D', '-e', '-f', join(home, 'sshd_config')],
    ports: [port],
    runDir: context.runDir,
    logFile: join(context.folder, 'logs', 'sshd.log'),
    ready: () => accepts(port),
    say: context.say,
  })
  context.onEnd(() => service.stop())
  const printed = await runCommand('ssh-keygen', ['-lf', join(home, 'host_key.pub')])
  const hostKey = /SHA256:\S+/.exec(printed.stdout)?.[0] ?? ''
  const user = userInfo().username
  const query = new URLSearchParams({ hostkey: hostKey, secret: 'BENCH' }).toString()
  return {
    name: 'SFTP (OpenSSH)',
    url: (folder) => `sftp://${user}@127.0.0.1:${port}${join(home, 'data', folder)}?${query}`,
    remote: (folder) => `bench:${join(home, 'data', folder)}`,
    env: {
      RCLONE_CONFIG: join(context.folder, 'none.conf'),
      RCLONE_CONFIG_BENCH_TYPE: 'sftp',
      RCLONE_CONFIG_BENCH_HOST: '127.0.0.1',
      RCLONE_CONFIG_BENCH_PORT: String(port),
      RCLONE_CONFIG_BENCH_USER: user,
      RCLONE_CONFIG_BENCH_KEY_FILE: join(home, 'user_key'),
      // There is no shell behind this server, so nothing but reading back can tell a hash.
      RCLONE_CONFIG_BENCH_SHELL_TYPE: 'none',
    },
    secret: await readFile(join(home, 'user_key'), 'utf8'),
  }
}

function sshdConfig(home: string, port: number): string {
  const lines = [
    `Port ${port}`,
    'ListenAddress 127.0.0.1',
    `HostKey ${join(home, 'host_key')}`,
    `AuthorizedKeysFile ${join(home, 'authorized_keys')}`,
    'PidFile none',
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    'PermitRootLogin yes',
    'Subsystem sftp internal-sftp',
    'ForceCommand internal-sftp',
    'LogLevel ERROR',
  ]
  return `${lines.join('\n')}\n`
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port })
    const end = (answer: boolean) => {
      socket.destroy()
      resolve(answer)
    }
    socket.once('connect', () => end(true)).once('error', () => end(false))
  })
}
