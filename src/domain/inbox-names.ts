/** Extensions a recording or a package of recordings may arrive under, lower case. */
export const depositExtensions: ReadonlySet<string> = new Set(
  (
    '3g2 3gp aac asf avi divx flac flv m2p m2ts m4a m4v mka mkv mov mp3 mp4 mpeg mpg mts oga ogg ogv opus ' +
    'tar.gz tgz ts wav webm wma wmv zip'
  ).split(' '),
)

/** Packages of several files: looked into and kept, but not processed by this version. */
export const packageExtensions: ReadonlySet<string> = new Set(['zip', 'tar.gz', 'tgz'])

/** Files that belong to the recording beside them: its hash, or the word that it is whole. */
export const sidecarSuffixes = ['.sha256', '.md5', '.done'] as const
/** One of the sidecars' suffixes. */
export type SidecarSuffix = (typeof sidecarSuffixes)[number]

/** A sidecar shorter than the hash it must hold is still being written. */
export const sidecarMinBytes: Readonly<Record<SidecarSuffix, number>> = { '.sha256': 64, '.md5': 32, '.done': 0 }

const temporarySuffix = /(?:\.(?:part|partial|tmp|filepart|crdownload)|~)$/i
/** Marks an uploader takes off its own name when it is done; `~` is an editor's, and no upload ends with it. */
const uploaderSuffix = /(?:\.[0-9a-f]{8})?\.partial$|\.(?:part|tmp|filepart|crdownload)$/i

/** The extension of a path in lower case, without its dot; empty where it has none. `tar.gz` is one extension. */
export function extensionOf(path: string): string {
  const name = baseName(path).toLowerCase()
  if (/.\.tar\.gz$/.test(name)) return 'tar.gz'
  const dot = name.lastIndexOf('.')
  return dot <= 0 ? '' : name.slice(dot + 1)
}

/**
 * True for names that uploaders and servers use while bytes still come: they are never looked into. Everything that
 * begins with a dot counts, also below a directory that does (rsync, pure-ftpd, `.Trash`).
 */
export function isTemporaryName(path: string): boolean {
  return temporarySuffix.test(path) || path.startsWith('.') || path.includes('/.')
}

/**
 * The final path an uploader gives to this temporary one when it is done, or `null` where the name is no uploader's own.
 * Names that servers invent (`.pureftpd-upload.*`, rsync's `.name.XXXXXX`) come back as something no recording is called:
 * those are renamed when the client dies, too, and end nothing.
 * @source pure-ftpd with a client that was killed; `rsync --partial`
 */
export function finalPathOf(temporaryPath: string): string | null {
  const slash = temporaryPath.lastIndexOf('/') + 1
  const name = temporaryPath.slice(slash)
  const undecorated = name.replace(uploaderSuffix, '').replace(/^\./, '')
  const isOurs = undecorated !== name && depositExtensions.has(extensionOf(undecorated))
  return isOurs ? temporaryPath.slice(0, slash) + undecorated : null
}

/** The recording a sidecar stands beside, or `null` where the path is no sidecar's. */
export function recordingOfSidecar(path: string): string | null {
  const lower = path.toLowerCase()
  const suffix = sidecarSuffixes.find((one) => lower.endsWith(one))
  if (suffix === undefined) return null
  const recording = path.slice(0, -suffix.length)
  return depositExtensions.has(extensionOf(recording)) ? recording : null
}

/**
 * Finds the recorder with the longest directory that holds a path, else the inbox's default, else none. What a path costs
 * does not grow with the number of recorders.
 */
export function recorderFinder<R extends { readonly directory: string; readonly isDefault: boolean }>(
  recorders: readonly R[],
): (path: string) => R | null {
  const owners = new Map(recorders.map((recorder) => [recorder.directory.replace(/^\/+|\/+$/g, ''), recorder]))
  const other = owners.get('') ?? recorders.find((recorder) => recorder.isDefault) ?? null
  return (path) => {
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      const owner = owners.get(path.slice(0, end))
      if (owner !== undefined) return owner
    }
    return other
  }
}

/** A path as the deposits table keeps it: whole, except where its name is refused anyway and could be of any length. */
export function keptPath(path: string, usable: boolean): string {
  return usable ? path : path.slice(0, 600).replaceAll('\u0000', '\uFFFD')
}

/** A first title out of a file's name: no extension, no control or direction characters, at most 200 characters. */
export function titleFromPath(path: string): string {
  const name = baseName(path)
  const extension = extensionOf(path)
  const bare = depositExtensions.has(extension) ? name.slice(0, -extension.length - 1) : name
  const clean = bare
    .replace(/[\uF780-\uF7FF]/g, '\uFFFD')
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
    .replace(/[\s_]+/g, ' ')
    .trim()
  return Array.from(clean).slice(0, 200).join('') || 'Untitled recording'
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}
