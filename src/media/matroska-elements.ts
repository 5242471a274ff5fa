import type { ByteSource } from './byte-source.ts'
import { slidingWindow, truncated } from './byte-source.ts'

/** A day of one-second clusters, with its index, has 700,000 elements. What comes after so many is left to the full decode. */
const mostElements = 2_000_000
/** Blocks inside clusters that are walked: some three hours. Holes in what comes after are left to the full decode. */
const mostBlocks = 500_000
const deepest = 8
const segmentId = '18538067'
const clusterId = '1f43b675'
/** Elements behind the media that hold other elements: the index, its points, tags. */
const masters = new Set(['1c53bb6b', 'bb', 'b7', '1254c367', '7373', '63c0', '67c8'])

interface Element {
  readonly id: string
  /** Where its content begins. */
  readonly content: number
  /** `null` = unknown: what live recorders write. */
  readonly sizeBytes: number | null
}

/**
 * EBML header, then Segments, then what they hold: clusters, index and tags must follow each other without a gap up to the
 * Segment's end. Where space was reserved for the whole file and its writer died, only these gaps tell. An unknown length
 * ends the walk and stays with the full decode, and so do more elements than anybody's recording has.
 * @throws truncated
 * @source a WebM whose last second was never written decodes without a complaint
 */
export async function checkMatroska(source: ByteSource): Promise<void> {
  const window = slidingWindow(source)
  let elements = 0
  let blocks = 0
  let segments = 0
  const isEntered = ({ id }: Element) =>
    id === segmentId || masters.has(id) || (id === clusterId && blocks < mostBlocks)
  const walk = async (from: number, to: number, depth: number, inCluster: boolean): Promise<'whole' | 'open'> => {
    for (let at = from; at < to;) {
      if (inCluster) blocks += 1
      else if (++elements > mostElements) return 'open'
      const element = readElement(await window(at), at)
      if (element === null) throw truncated(`its structure breaks off at byte ${at} of ${source.sizeBytes}`)
      if (element.id === segmentId) segments += 1
      if (element.sizeBytes === null) return 'open'
      const end = element.content + element.sizeBytes
      if (end > to) throw truncated(`it should be at least ${end} bytes long and is ${source.sizeBytes}`)
      if (depth < deepest && isEntered(element))
        await walk(element.content, end, depth + 1, inCluster || element.id === clusterId)
      at = end
    }
    return 'whole'
  }
  const extent = await walk(0, source.sizeBytes, 0, false)
  if (extent === 'whole' && segments === 0) throw truncated('it ends after its header')
}

function readElement(head: Buffer, at: number): Element | null {
  const idLength = numberLength(head[0])
  if (idLength === null || idLength > 4 || head.length <= idLength) return null
  const size = readNumber(head, idLength)
  if (size === null) return null
  const id = head.toString('hex', 0, idLength)
  return { id, content: at + idLength + size.length, sizeBytes: size.value }
}

/** How many bytes an EBML number takes, by its first one. */
function numberLength(first: number | undefined): number | null {
  return first === undefined || first === 0 ? null : Math.clz32(first) - 23
}

/** An EBML number: how long it is and its value, `null` for "unknown". */
function readNumber(bytes: Buffer, at: number): { readonly length: number; readonly value: number | null } | null {
  const first = bytes[at] ?? 0
  const length = numberLength(first)
  if (length === null || at + length > bytes.length) return null
  let value = first & (0xff >> length)
  let unknown = value === 0xff >> length
  for (const byte of bytes.subarray(at + 1, at + length)) {
    value = value * 256 + byte
    unknown = unknown && byte === 0xff
  }
  return { length, value: unknown ? null : value }
}
