/** Where everything of one recording stands in every store. */
export function recordingPrefix(accountId: string, recordingId: string): string {
  return `${accountId}/${recordingId}`
}

/** The key of the original. The recorder's own file name never becomes part of a key. */
export function originalKey(accountId: string, recordingId: string, extension: string): string {
  return `${recordingPrefix(accountId, recordingId)}/original.${extension}`
}

/**
 * The key of a derived file, e.g. `hls/master.m3u8`, made by one attempt. Every attempt writes below a name of its own
 * and the database says which one counts: a zombie and its successor can never mix their files.
 */
export function renditionKey(accountId: string, recordingId: string, attempt: string, name: string): string {
  return `${recordingPrefix(accountId, recordingId)}/renditions/${attempt}/${name}`
}

/** Where parts of unfinished encodes stand. Nothing here is a file of the recording: no manifest names it, no backup gets it. */
export function partsPrefix(accountId: string, recordingId: string): string {
  return `${recordingPrefix(accountId, recordingId)}/work`
}

/** The key of one part of an unfinished encode. */
export function partKey(accountId: string, recordingId: string, name: string): string {
  return `${partsPrefix(accountId, recordingId)}/${name}`
}

/** The key of the manifest: written last, so that a package with a manifest is a whole package. */
export function manifestKey(accountId: string, recordingId: string): string {
  return `${recordingPrefix(accountId, recordingId)}/manifest.json`
}

/** One file as the manifest names it. */
export interface ManifestFile {
  readonly name: string
  readonly kind: string
  readonly key: string
  readonly contentType: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** What stands beside the files in every store, so that a store can be checked, and the database rebuilt, without the other. */
export interface Manifest {
  readonly version: 1
  readonly accountId: string
  readonly recordingId: string
  readonly recorder: string
  readonly owner: string | null
  readonly title: string
  readonly description: string
  readonly tags: readonly string[]
  readonly depositPath: string
  readonly acceptedAt: string
  readonly retainUntil: string | null
  readonly media: unknown
  readonly files: readonly ManifestFile[]
}

/** The manifest's bytes: the same facts give the same bytes, so that writing it twice is writing it once. */
export function manifestText(manifest: Manifest): string {
  const files = [...manifest.files].sort((a, b) => (a.name < b.name ? -1 : 1))
  return `${canonicalJson({ ...manifest, files })}\n`
}

/** JSON with sorted keys and no white space: equal values give equal texts, so texts can be hashed and signed. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item === undefined ? null : item)).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const fields = Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
    return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
