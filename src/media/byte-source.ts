import { open } from 'node:fs/promises'
import { ReelkeepError } from '../domain/errors.ts'

/** Random access to a file's bytes, as far as a structure check needs it. */
export interface ByteSource {
  readonly sizeBytes: number
  /** Shorter than asked for only at the end of the file. */
  read(offset: number, length: number): Promise<Buffer>
}

/** Opens a file for the time of one look at it and closes it whatever happens. */
export async function withByteSource<T>(path: string, look: (source: ByteSource) => Promise<T>): Promise<T> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    return await look({
      sizeBytes: size,
      read: async (offset, length) => {
        const buffer = Buffer.alloc(length)
        const { bytesRead } = await file.read(buffer, 0, length, offset)
        return buffer.subarray(0, bytesRead)
      },
    })
  } finally {
    await file.close()
  }
}

const windowBytes = 4096

/** Reads the 16 bytes at an offset (fewer at the end), and ahead: thousands of tiny boxes cost few reads. */
export function slidingWindow(source: ByteSource): (at: number) => Promise<Buffer> {
  let start = 0
  let bytes: Buffer = Buffer.alloc(0)
  return async (at) => {
    const covered = at >= start && Math.min(at + 16, source.sizeBytes) <= start + bytes.length
    if (!covered) {
      start = at
      bytes = await source.read(at, windowBytes)
    }
    return bytes.subarray(at - start, at - start + 16)
  }
}

/** True where the file ends in a page of zeros: space was reserved for it and its writer died before filling it. */
export function endsInZeros(path: string): Promise<boolean> {
  return withByteSource(path, async (source) => {
    const tail = await source.read(Math.max(0, source.sizeBytes - 4096), 4096)
    return tail.length >= 64 && tail.every((byte) => byte === 0)
  })
}

/** Says that the file's own arithmetic does not add up: `detail` completes "The file is cut or damaged: ...". */
export function truncated(detail: string, cause?: unknown): ReelkeepError {
  const message = `The file is cut or damaged: ${detail}. Upload it again in full; the source is kept.`
  return new ReelkeepError('truncated', message, { cause })
}
