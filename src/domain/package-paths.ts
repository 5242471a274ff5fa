/** What a path inside a package is judged by; the package's own format names the code it is refused with. */
export interface PackagePath {
  readonly path: string
  readonly directory: boolean
}

/** A name longer than this is no recorder's, and 10,000 of them must fit into memory. */
const longestPathBytes = 1024
const mostFolders = 32

/**
 * Why a path inside a package may not be used, or `null`: it would leave the package's folder, or mean different files to
 * different programs. Completes "its entry ... ".
 */
export function pathProblem(path: string): string | null {
  const parts = path.split('/')
  if (path.includes('\0')) return 'has a NUL in its name'
  if (path.includes('\\')) return 'has a backslash in its name'
  if (path.startsWith('/')) return 'is an absolute path'
  if (/^[a-z]:/i.test(path)) return 'begins with a drive letter'
  if (parts.includes('..')) return 'leads out of the package'
  if (new TextEncoder().encode(path).length > longestPathBytes) return `is longer than ${longestPathBytes} bytes`
  if (parts.length > mostFolders) return `lies deeper than ${mostFolders} folders`
  return cleanPath(path) === '' && path !== './' ? 'has no name' : null
}

/** A path as the package's own files refer to it: no `./` in front, no doubled or trailing slashes. */
export function cleanPath(path: string): string {
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/')
}

/**
 * Two entries of one package that some disk would write to one place, in words, or `null`: the same name twice, names that
 * differ only in case or in how an accent is written, a file that is also a folder.
 */
export function twinProblem(entries: readonly PackagePath[]): string | null {
  const seen = new Map<string, PackagePath & { listed: boolean }>()
  for (const { path, directory } of entries) {
    if (path === './') continue
    const parts = cleanPath(path).split('/')
    for (let depth = 1; depth <= parts.length; depth++) {
      const one = parts.slice(0, depth).join('/')
      const listed = depth === parts.length
      const folder = directory || !listed
      const key = one.normalize('NFC').toUpperCase().toLowerCase()
      const before = seen.get(key)
      if (before === undefined) seen.set(key, { path: one, directory: folder, listed })
      else if (before.path !== one)
        return `its entries ${shownPath(before.path)} and ${shownPath(one)} are one file on many disks`
      else if (before.directory !== folder) return `its entry ${shownPath(one)} is a file and a folder`
      else if (listed && before.listed) return `its entry ${shownPath(one)} is there twice`
      else if (listed) seen.set(key, { ...before, listed })
    }
  }
  return null
}

/** A foreign path for a message: quoted, cut, and without characters that hide or turn text around. */
export function shownPath(path: string): string {
  const clean = path.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '\uFFFD')
  const characters = Array.from(clean.slice(0, 200))
  return `"${characters.length > 80 ? `${characters.slice(0, 80).join('')}…` : characters.join('')}"`
}
