/** What a `Range` header asks of so many bytes: all, one part (inclusive), or nothing that can be given. */
export type RangeVerdict =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

/** More ranges than any player asks for at once are an attack on the server's patience. */
const mostRanges = 16

/**
 * Decides a `Range` header. Several ranges are answered by the whole, which RFC 9110 allows and every client takes; what is
 * no byte range at all is ignored. Total: never throws.
 * @source RFC 9110 section 14.2
 */
export function decideRange(header: string | undefined, sizeBytes: number): RangeVerdict {
  const spec = /^bytes *= *(.*)$/i.exec(header ?? '')?.[1]
  if (spec === undefined) return { kind: 'whole' }
  const parts = spec.split(',', mostRanges + 1)
  if (parts.length > mostRanges) return { kind: 'unsatisfiable' }
  const match = /^ *(\d*) *- *(\d*) *$/.exec(spec)
  const [first = '', last = ''] = match?.slice(1) ?? []
  if (parts.length > 1 || match === null || (first === '' && last === '')) return { kind: 'whole' }
  if (first === '') return suffix(Number(last), sizeBytes)
  const start = Number(first)
  const end = last === '' ? Number.POSITIVE_INFINITY : Number(last)
  if (end < start) return { kind: 'whole' }
  return start >= sizeBytes ? { kind: 'unsatisfiable' } : { kind: 'part', start, end: Math.min(end, sizeBytes - 1) }
}

function suffix(lengthBytes: number, sizeBytes: number): RangeVerdict {
  if (lengthBytes === 0 || sizeBytes === 0) return { kind: 'unsatisfiable' }
  return { kind: 'part', start: Math.max(0, sizeBytes - lengthBytes), end: sizeBytes - 1 }
}
