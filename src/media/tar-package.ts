import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'
import { Header } from 'tar'
import type { ReelkeepError } from '../domain/errors.ts'
import { isPackageText } from '../domain/package.ts'
import type { PackageEntry } from '../domain/package.ts'
import { pathProblem, shownPath, twinProblem } from '../domain/package-paths.ts'
import { bytesPer, describeBytes } from '../domain/units.ts'
import { truncated } from './byte-source.ts'
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
import { readPax } from './pax.ts'

const blockBytes = 512
const maxMetaBytes = bytesPer.mib

/**
 * Lists a tar.gz and reads it once to its end, in one pass and one chunk of memory. Stricter than programs that unpack: what
 * two of them could read in two ways is refused. @throws type_mismatch, truncated, archive_unsafe, cancelled
 */
export async function readTarGz(path: string, options: PackageOptions = {}): Promise<readonly PackageEntry[]> {
  const { signal, limits = defaultPackageLimits } = options
  const gunzip = createGunzip({ chunkSize: 256 * bytesPer.kib })
  const open = () => createReadStream(path, { highWaterMark: bytesPer.mib })
  const chunks = capped(unpack(open, gunzip, signal), () => gunzip.bytesWritten, limits)
  try {
    return await readTar(createBlocks(chunks), limits)
  } catch (error) {
    throw isDamage(error) ? truncated('it does not unpack to its end', error) : orCancelled(error, signal)
  } finally {
    await chunks.return()
  }
}

async function* capped(
  chunks: AsyncIterable<Buffer>,
  packedBytes: () => number,
  limits: PackageLimits,
): AsyncGenerator<Buffer, void, undefined> {
  let unpacked = 0
  for await (const chunk of chunks) {
    unpacked += chunk.length
    if (unpacksTooFar(packedBytes(), unpacked, limits)) throw unsafe('it unpacks to far more than any recording would')
    if (unpacked > limits.maxUnpackedBytes) throw tooLarge(limits)
    yield chunk
  }
}

interface Blocks {
  /** The next bytes, at most so many; `null` at the end. */
  some(most: number): Promise<Buffer | null>
  /** Exactly so many bytes, or `null` where there are fewer. */
  exactly(length: number): Promise<Buffer | null>
}

function createBlocks(chunks: AsyncGenerator<Buffer>): Blocks {
  let rest: Buffer = Buffer.alloc(0)
  const some = async (most: number): Promise<Buffer | null> => {
    while (rest.length === 0) {
      const next = await chunks.next()
      if (next.done === true) return null
      rest = next.value
    }
    const part = rest.subarray(0, most)
    rest = rest.subarray(part.length)
    return part
  }
  const exactly = async (length: number): Promise<Buffer | null> => {
    const parts: Buffer[] = []
    for (let missing = length; missing > 0;) {
      const part = await some(missing)
      if (part === null) return null
      parts.push(part)
      missing -= part.length
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts)
  }
  return { some, exactly }
}

/** What extension headers say about the file behind them. */
interface Extension {
  path?: string
  sizeBytes?: number
}

async function readTar(blocks: Blocks, limits: PackageLimits): Promise<readonly PackageEntry[]> {
  const entries: PackageEntry[] = []
  const keeper = createTextKeeper(limits)
  let extension: Extension = {}
  let unpacked = 0
  for (let headers = 0; ; headers++) {
    const header = await readHeader(blocks, headers === 0)
    if (header === null) break
    // Each entry may have a few headers of its own in front of it.
    if (headers >= limits.maxEntries * 4 || entries.length >= limits.maxEntries) {
      throw unsafe(`it holds more than ${limits.maxEntries} entries`)
    }
    const known = await readExtension(header, blocks, extension)
    if (known !== null) {
      extension = known
      continue
    }
    const { path, directory } = judgeEntry(header, extension)
    const sizeBytes = extension.sizeBytes ?? header.size ?? -1
    if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw unsafe(`its entry ${shownPath(path)} has no real size`)
    unpacked += sizeBytes
    if (unpacked > limits.maxUnpackedBytes) throw tooLarge(limits)
    const text = !directory && isPackageText(path) ? keeper() : null
    await readBody(blocks, sizeBytes, text?.add)
    entries.push({ path, directory, sizeBytes, text: text?.end() ?? null })
    extension = {}
  }
  if (Object.keys(extension).length > 0) throw unsafe('it ends with a header that belongs to no entry')
  const twins = twinProblem(entries)
  if (twins !== null) throw unsafe(twins)
  return entries
}

/** The next header, or `null` behind the two empty blocks that end every tar; only zeros may follow them. */
async function readHeader(blocks: Blocks, first: boolean): Promise<Header | null> {
  const block = await blocks.exactly(blockBytes)
  if (block === null) throw first ? noTar() : truncated('the end of its tar is missing')
  const header = parseHeader(block)
  if (header?.nullBlock === true) {
    const second = await blocks.exactly(blockBytes)
    if (second === null) throw truncated('the end of its tar is missing')
    for (let part: Buffer | null = second; part !== null; part = await blocks.some(bytesPer.mib)) {
      if (part.some((byte) => byte !== 0)) throw unsafe('something follows its end')
    }
    return null
  }
  if (header?.cksumValid !== true) throw first ? noTar() : unsafe('one of its headers is damaged')
  return header
}

function parseHeader(block: Buffer): Header | null {
  try {
    return new Header(block)
  } catch {
    return null
  }
}

/** Reads a header that only speaks of the next one; `null` where it is an entry of its own. */
async function readExtension(header: Header, blocks: Blocks, before: Extension): Promise<Extension | null> {
  const { type, size = 0 } = header
  const isPax = type === 'ExtendedHeader' || type === 'GlobalExtendedHeader'
  if (!isPax && type !== 'NextFileHasLongPath') return null
  if (size > maxMetaBytes) throw unsafe('one of its headers is larger than 1 MiB')
  const body = await blocks.exactly(Math.ceil(size / blockBytes) * blockBytes)
  if (body === null) throw truncated('it breaks off inside a header')
  const content = body.subarray(0, size)
  if (!isPax) return { ...before, path: content.toString('utf8').replace(/\0+$/, '') }
  const records = readPax(content)
  if (records === null) throw unsafe('one of its headers is damaged')
  const [path, length] = [records.get('path'), records.get('size')]
  if (records.has('linkpath')) throw unsafe('it holds links')
  if (type === 'GlobalExtendedHeader') {
    if (path !== undefined || length !== undefined) throw unsafe('one header names or measures all its entries')
    return before
  }
  return {
    ...before,
    ...(path === undefined ? {} : { path }),
    ...(length === undefined ? {} : { sizeBytes: /^\d{1,16}$/.test(length) ? Number(length) : -1 }),
  }
}

const plainTypes: readonly string[] = ['File', 'OldFile', 'ContiguousFile', 'Directory']

function judgeEntry(header: Header, extension: Extension): { path: string; directory: boolean } {
  const given = header.path ?? ''
  const path = extension.path ?? given
  const named = `its entry ${shownPath(path)}`
  if (!plainTypes.includes(header.type)) throw unsafe(`${named} is a link, a device or something else than a file`)
  for (const name of [path, given]) {
    const problem = pathProblem(name)
    if (problem !== null) throw unsafe(`its entry ${shownPath(name)} ${problem}`)
  }
  const directory = header.type === 'Directory'
  if (!directory && path.endsWith('/')) throw unsafe(`${named} is a file with a folder's name`)
  if (directory && (extension.sizeBytes ?? 0) > 0) throw unsafe(`${named} is a folder that holds bytes`)
  return { path: directory && !path.endsWith('/') ? `${path}/` : path, directory }
}

async function readBody(blocks: Blocks, sizeBytes: number, add: ((chunk: Buffer) => void) | undefined): Promise<void> {
  const padded = Math.ceil(sizeBytes / blockBytes) * blockBytes
  for (let at = 0; at < padded;) {
    const part = await blocks.some(padded - at)
    if (part === null) throw truncated('it breaks off inside a file')
    if (at < sizeBytes) add?.(part.subarray(0, sizeBytes - at))
    at += part.length
  }
}

function unsafe(problem: string): ReelkeepError {
  return refusal('archive_unsafe', problem)
}

function tooLarge(limits: PackageLimits): ReelkeepError {
  return unsafe(`it unpacks to more than ${describeBytes(limits.maxUnpackedBytes)}`)
}

function noTar(): ReelkeepError {
  return refusal('type_mismatch', 'it is gzip, but holds no tar')
}
