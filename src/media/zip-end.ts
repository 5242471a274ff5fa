import type { ByteSource } from './byte-source.ts'
import { refusal } from './package-limits.ts'

const endBytes = 22
const longestEnd = endBytes + 65_535
const locatorBytes = 20
const zip64EndBytes = 56

/** Where a ZIP keeps its directory and how many entries it says are in it. */
export interface ZipEnd {
  readonly entries: number
  readonly directoryAt: number
  readonly directoryEnd: number
}

/**
 * Reads the end record of a ZIP (and its ZIP64 twin), which must be the file's last bytes and lie right behind the
 * directory it points at. Milliseconds, whatever the size. @throws zip_structure
 */
export async function readZipEnd(source: ByteSource): Promise<ZipEnd> {
  const start = Math.max(0, source.sizeBytes - longestEnd)
  const tail = await source.read(start, longestEnd)
  const at = tail.lastIndexOf('PK\u0005\u0006', Math.max(0, tail.length - endBytes), 'latin1')
  if (at < 0 || at + endBytes > tail.length) throw structure('its end record is missing: it was cut, or is no ZIP')
  if (at + endBytes + tail.readUInt16LE(at + 20) !== tail.length) throw structure('its end record is not its end')
  if (tail.readUInt16LE(at + 4) !== 0 || tail.readUInt16LE(at + 6) !== 0) throw structure('it is one part of several')
  const plain = {
    entries: tail.readUInt16LE(at + 10),
    directoryBytes: tail.readUInt32LE(at + 12),
    directoryAt: tail.readUInt32LE(at + 16),
  }
  const endAt = start + at
  const big = await readZip64End(source, endAt)
  const end = big ?? { ...plain, recordAt: endAt }
  if (big !== null && !agree(plain, big)) throw structure('its two end records contradict each other')
  const directoryEnd = end.directoryAt + end.directoryBytes
  if (directoryEnd !== end.recordAt) throw structure('its directory is not where its end record says')
  return { entries: end.entries, directoryAt: end.directoryAt, directoryEnd }
}

interface EndValues {
  readonly entries: number
  readonly directoryBytes: number
  readonly directoryAt: number
}

async function readZip64End(source: ByteSource, endAt: number): Promise<(EndValues & { recordAt: number }) | null> {
  if (endAt < locatorBytes) return null
  const locator = await source.read(endAt - locatorBytes, locatorBytes)
  if (locator.toString('latin1', 0, 4) !== 'PK\u0006\u0007') return null
  const recordAt = Number(locator.readBigUInt64LE(8))
  if (recordAt + zip64EndBytes > endAt - locatorBytes) throw structure('its ZIP64 end record lies outside the file')
  const record = await source.read(recordAt, zip64EndBytes)
  if (record.toString('latin1', 0, 4) !== 'PK\u0006\u0006') throw structure('its ZIP64 end record is missing')
  return {
    entries: Number(record.readBigUInt64LE(32)),
    directoryBytes: Number(record.readBigUInt64LE(40)),
    directoryAt: Number(record.readBigUInt64LE(48)),
    recordAt,
  }
}

/** A field of the plain record either repeats the ZIP64 one or holds its maximum. */
function agree(plain: EndValues, big: EndValues): boolean {
  return (
    (plain.entries === 0xffff || plain.entries === big.entries) &&
    (plain.directoryBytes === 0xffff_ffff || plain.directoryBytes === big.directoryBytes) &&
    (plain.directoryAt === 0xffff_ffff || plain.directoryAt === big.directoryAt)
  )
}

function structure(problem: string): Error {
  return refusal('zip_structure', problem)
}
