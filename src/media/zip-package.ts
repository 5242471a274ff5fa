import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { crc32, createInflateRaw } from 'node:zlib'
import { fromFdPromise, getFileNameLowLevel } from 'yauzl'
import type { Entry, LocalFileHeader, ZipFile } from 'yauzl'
import { ReelkeepError } from '../domain/errors.ts'
import { isPackageText } from '../domain/package.ts'
import type { PackageEntry } from '../domain/package.ts'
import { pathProblem, shownPath, twinProblem } from '../domain/package-paths.ts'
import { bytesPer, describeBytes } from '../domain/units.ts'
import { withByteSource } from './byte-source.ts'
import {
  createTextKeeper,
  defaultPackageLimits,
  isDamage,
  orCancelled,
  refusal,
  unpack,
  unpacksTooFar,
} from './package-limits.ts'
import type { PackageLimits, PackageOptions } from './package-limits.ts'
import type { ZipEnd } from './zip-end.ts'
import { readZipEnd } from './zip-end.ts'

/** One entry of the directory, with where its packed bytes lie. */
interface ZipEntry extends Omit<PackageEntry, 'text'> {
  readonly deflated: boolean
  readonly packedBytes: number
  readonly crc: number
  readonly headerAt: number
  readonly dataAt: number
  /** What speaks against it where it lies: told only when nothing worse explains it. */
  readonly contradiction: ReelkeepError | null
}

/**
 * Lists a ZIP and reads every entry once to its end: name, type, place, size and CRC must be what they should. Nothing is
 * written anywhere; one chunk is in memory at a time, and the beginnings of small texts.
 * @throws zip_structure, zip_entries, zip_path, zip_special, zip_ambiguous, zip_method, zip_overlap, zip_ratio, zip_size,
 * zip_crc, cancelled
 */
export async function readZip(path: string, options: PackageOptions = {}): Promise<readonly PackageEntry[]> {
  const { signal, limits = defaultPackageLimits } = options
  const end = await withByteSource(path, readZipEnd)
  const file = await open(path, 'r')
  try {
    const entries = await readDirectory(file, end, limits, signal)
    const keeper = createTextKeeper(limits)
    const read: PackageEntry[] = []
    for (const entry of entries) {
      const text = !entry.directory && isPackageText(entry.path) ? keeper() : null
      await readEntry(file, entry, { limits, signal, add: text?.add })
      read.push({ path: entry.path, directory: entry.directory, sizeBytes: entry.sizeBytes, text: text?.end() ?? null })
    }
    return read
  } catch (error) {
    throw orCancelled(error, signal)
  } finally {
    await file.close()
  }
}

/** Everything that can be said without unpacking a byte. */
async function readDirectory(
  file: FileHandle,
  end: ZipEnd,
  limits: PackageLimits,
  signal: AbortSignal | undefined,
): Promise<readonly ZipEntry[]> {
  if (end.entries > limits.maxEntries) throw tooMany(end.entries, limits)
  const entries: ZipEntry[] = []
  try {
    // Never closed by it: the file is ours.
    const zip = await fromFdPromise(file.fd, { autoClose: false, decodeStrings: false, validateEntrySizes: false })
    let at = end.directoryAt
    for await (const entry of zip.eachEntry()) {
      signal?.throwIfAborted()
      at += 46 + entry.fileNameLength + entry.extraFieldLength + entry.fileCommentLength
      if (at > end.directoryEnd) throw refusal('zip_structure', 'its directory runs over its end')
      entries.push(await placeEntry(zip, entry, end))
    }
    if (at !== end.directoryEnd) throw leftOver(end.directoryEnd - at, end.entries, limits)
  } catch (error) {
    throw structureOr(error)
  }
  checkTogether(entries, end, limits)
  return entries
}

/** The count has 16 bits: a directory that goes on for at least that many entries wrapped it around. */
function leftOver(bytes: number, counted: number, limits: PackageLimits): ReelkeepError {
  const wrapped = 65_536
  if (bytes >= wrapped * 47) return tooMany(counted + wrapped, limits)
  return refusal('zip_structure', 'its directory holds more entries than it counts')
}

function tooMany(entries: number, { maxEntries }: PackageLimits): ReelkeepError {
  return refusal('zip_entries', `it holds ${entries} entries, and ${maxEntries} is the most`)
}

async function placeEntry(zip: ZipFile, entry: Entry, end: ZipEnd): Promise<ZipEntry> {
  const path = namedSafely(entry)
  const named = `its entry ${shownPath(path)}`
  const type = (entry.externalFileAttributes >>> 16) & 0o170_000
  if (type !== 0 && type !== 0o100_000 && type !== 0o040_000) {
    throw refusal('zip_special', `${named} is a link, device or pipe`)
  }
  const masked = 0x2000
  if (entry.isEncrypted() || (entry.generalPurposeBitFlag & masked) !== 0) {
    throw refusal('zip_method', `${named} is encrypted`)
  }
  if (entry.compressionMethod !== 0 && entry.compressionMethod !== 8) {
    throw refusal(
      'zip_method',
      `${named} is packed by method ${entry.compressionMethod}; only "stored" and "deflate" are read`,
    )
  }
  const headerAt = entry.relativeOffsetOfLocalHeader
  if (headerAt >= end.directoryAt) throw refusal('zip_structure', `${named} lies outside the file`)
  const local = await zip.readLocalFileHeaderPromise(entry)
  return {
    path,
    directory: path.endsWith('/'),
    sizeBytes: entry.uncompressedSize,
    deflated: entry.compressionMethod === 8,
    packedBytes: entry.compressedSize,
    crc: entry.crc32,
    headerAt,
    dataAt: local.fileDataStart,
    contradiction: contradictionOf(entry, local, named),
  }
}

function contradictionOf(entry: Entry, local: LocalFileHeader, named: string): ReelkeepError | null {
  if (!local.fileName.equals(entry.fileNameRaw)) {
    return refusal('zip_ambiguous', `${named} has another name where it lies`)
  }
  if (local.compressionMethod === entry.compressionMethod) return null
  return refusal('zip_structure', `${named} is described in two ways`)
}

/** The entry's name, where neither its raw bytes nor its Unicode twin lead anywhere. */
function namedSafely(entry: Entry): string {
  const path = getFileNameLowLevel(entry.generalPurposeBitFlag, entry.fileNameRaw, entry.extraFields, true)
  for (const name of [path, entry.fileNameRaw.toString('latin1')]) {
    const problem = pathProblem(name)
    if (problem !== null) throw refusal('zip_path', `its entry ${shownPath(name)} ${problem}`)
  }
  return path
}

/** What no entry shows alone: twins, shared bytes, and sizes that are absurd before anything is unpacked. */
function checkTogether(entries: readonly ZipEntry[], end: ZipEnd, limits: PackageLimits): void {
  const twins = twinProblem(entries)
  if (twins !== null) throw refusal('zip_ambiguous', twins)
  let before: ZipEntry | null = null
  for (const entry of [...entries].sort((a, b) => a.headerAt - b.headerAt)) {
    if (before !== null && before.dataAt + before.packedBytes > entry.headerAt) throw overlap(before, entry.path)
    before = entry
  }
  if (before !== null && before.dataAt + before.packedBytes > end.directoryAt) throw overlap(before, 'the directory')
  let unpacked = 0
  for (const { path, packedBytes, sizeBytes, deflated, directory, contradiction } of entries) {
    if (contradiction !== null) throw contradiction
    const named = `its entry ${shownPath(path)}`
    unpacked += sizeBytes
    if (directory && sizeBytes > 0) throw refusal('zip_size', `${named} is a folder that holds bytes`)
    if (!deflated && packedBytes !== sizeBytes) throw refusal('zip_size', `${named} is stored, but not in its own size`)
    if (unpacksTooFar(packedBytes, sizeBytes, limits)) throw tooDense(named)
  }
  if (unpacked > limits.maxUnpackedBytes) {
    throw refusal(
      'zip_size',
      `it unpacks to ${describeBytes(unpacked)}, and ${describeBytes(limits.maxUnpackedBytes)} is the most`,
    )
  }
}

function overlap(entry: ZipEntry, other: string): ReelkeepError {
  return refusal('zip_overlap', `its entry ${shownPath(entry.path)} shares bytes with ${shownPath(other)}`)
}

function tooDense(named: string): ReelkeepError {
  return refusal('zip_ratio', `${named} unpacks to far more than any recording would`)
}

interface Reading {
  readonly limits: PackageLimits
  readonly signal: AbortSignal | undefined
  readonly add: ((chunk: Buffer) => void) | undefined
}

/** Unpacks one entry into nothing, and stops where it becomes more than it said. */
async function readEntry(file: FileHandle, entry: ZipEntry, { limits, signal, add }: Reading): Promise<void> {
  const named = `its entry ${shownPath(entry.path)}`
  const { dataAt, packedBytes, sizeBytes } = entry
  const wrongSize = (what: string) => refusal('zip_size', `${named} says ${sizeBytes} bytes and holds ${what}`)
  let [read, crc] = [0, 0]
  const packed = bytesOf(file, dataAt, packedBytes)
  const inflate = entry.deflated && packedBytes > 0 ? createInflateRaw({ chunkSize: 256 * bytesPer.kib }) : null
  try {
    for await (const chunk of inflate === null ? packed : unpack(() => Readable.from(packed), inflate, signal)) {
      signal?.throwIfAborted()
      read += chunk.length
      if (read > sizeBytes) throw wrongSize('more')
      if (unpacksTooFar(packedBytes, read, limits)) throw tooDense(named)
      crc = crc32(chunk, crc)
      add?.(chunk)
    }
  } catch (error) {
    throw isDamage(error) ? refusal('zip_crc', `${named} is damaged and does not unpack`, error) : error
  }
  if (read !== sizeBytes) throw wrongSize(`${read}`)
  if (inflate !== null && inflate.bytesWritten !== packedBytes) throw wrongSize('something behind them')
  if (crc !== entry.crc) throw refusal('zip_crc', `the bytes of ${named} do not match their checksum`)
}

/** A stretch of the file. Not a stream of its own: ending one early would close the file under the others. */
async function* bytesOf(file: FileHandle, from: number, length: number): AsyncGenerator<Buffer> {
  for (let at = from; at < from + length;) {
    const wanted = Math.min(from + length - at, bytesPer.mib)
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(wanted), 0, wanted, at)
    if (bytesRead === 0) throw refusal('zip_structure', 'it ended while it was read')
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

/** The reader's own complaints are plain errors without a code; those of the disk have one. */
function structureOr(error: unknown): unknown {
  const isPlain = error instanceof Error && !(error instanceof ReelkeepError) && !('code' in error)
  if (!isPlain) return error
  if (/strong encryption/.test(error.message)) return refusal('zip_method', 'it is encrypted', error)
  return refusal('zip_structure', 'its directory does not add up: it is cut or damaged', error)
}
