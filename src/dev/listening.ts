import { readdir, readFile, readlink } from 'node:fs/promises'

/** `0A` is LISTEN in the kernel's table of sockets. */
const listenState = '0A'

/**
 * True where this very process listens on the TCP port. An answer alone proves nothing while two stacks start at once:
 * the one that came second would take the first one's server for its own. Where the system does not say (no `/proc`), true.
 */
export async function holdsPort(pid: number, port: number): Promise<boolean> {
  if (process.platform !== 'linux') return true
  const sockets = await listeningSockets(port)
  for (const descriptor of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
    const target = await readlink(`/proc/${pid}/fd/${descriptor}`).catch(() => '')
    if (sockets.has(target)) return true
  }
  return false
}

async function listeningSockets(port: number): Promise<ReadonlySet<string>> {
  const sockets = new Set<string>()
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    const text = await readFile(table, 'utf8').catch(() => '')
    for (const line of text.split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/)
      if (state === listenState && local.endsWith(ending)) sockets.add(`socket:[${inode}]`)
    }
  }
  return sockets
}
