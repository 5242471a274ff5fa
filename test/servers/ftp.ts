import { execFile } from 'node:child_process'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { answersTcp, freePorts, serverHome, startServer } from './process.ts'
import type { RunningServer } from './process.ts'

const run = promisify(execFile)

/** A directory behind an FTP daemon of the test's own. */
export interface FtpServer extends RunningServer {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  /** What clients see as `/`, on this machine's disk. */
  readonly directory: string
}

const user = 'recorder'
const password = 'not a secret'
/** A cheap hash of it: the one that `pure-pw` makes costs a third of a second at every login. */
const passwordHash = '$1$reelkeep$RR5mEb9b8ELGQRWKK2qZo0'
/** Virtual users need an owner that is not root: nobody. */
const ownerId = 65_534
const passivePorts = 200

/**
 * pure-ftpd on a high port of the loopback address with one virtual user, who sees nothing but the directory. It needs
 * root for that. `atomic` = uploads over an existing file go through a temporary file of the server's (`--notruncate`).
 */
export async function startPureFtpd(options: { atomic?: boolean } = {}): Promise<FtpServer> {
  const home = await serverHome('ftpd')
  const directory = join(home, 'data')
  await mkdir(directory)
  await chmod(home, 0o755)
  await chown(directory, ownerId, ownerId)
  const passwords = join(home, 'passwords')
  await writeFile(passwords, `${user}:${passwordHash}:${ownerId}:${ownerId}::${directory}/./::::::::::::\n`)
  await run('pure-pw', ['mkdb', join(home, 'users.pdb'), '-f', passwords])
  const [port = 0, firstPassive = 0] = await freePorts(2)
  const lowest = Math.min(firstPassive, 65_000)
  const running = await startServer({
    home,
    command: '/usr/sbin/pure-ftpd',
    args: ['--bind', `127.0.0.1,${port}`, '--ipv4only', '--dontresolve', '--noanonymous', '--chrooteveryone'].concat(
      ['--login', `puredb:${join(home, 'users.pdb')}`, '--minuid', String(ownerId)],
      ['--passiveportrange', `${lowest}:${lowest + passivePorts}`, '--pidfile', join(home, 'pid')],
      ['--maxclientsnumber', '200', '--maxclientsperip', '200', '--syslogfacility', 'none'],
      options.atomic === true ? ['--notruncate'] : [],
    ),
    ready: () => answersTcp(port),
  })
  return { ...running, host: '127.0.0.1', port, user, password, directory }
}
