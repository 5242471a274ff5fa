import { createHash, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { crc32 } from 'node:zlib'
import { clientFor, describeS3 } from './s3.ts'
import type { S3Server } from './s3.ts'

/** What S3 calls its operations, as far as the store uses them. */
export type S3Operation =
  | 'PutObject'
  | 'GetObject'
  | 'HeadObject'
  | 'DeleteObject'
  | 'ListObjects'
  | 'HeadBucket'
  | 'CreateUpload'
  | 'UploadPart'
  | 'ListParts'
  | 'CompleteUpload'
  | 'AbortUpload'
  | 'ListUploads'

/** One way in which a store lies, fails or goes silent; used up after `times` (default 1) requests of its operation. */
export interface S3Fault {
  readonly on: S3Operation
  times?: number
  /** Requests of the operation that still go well before. */
  after?: number
  readonly does:
    | { readonly kind: 'answer'; readonly status: number; readonly code: string }
    /** The effect never happens and the connection is cut. */
    | { readonly kind: 'cut_before' }
    /** The effect happens, its answer is lost. */
    | { readonly kind: 'cut_after' }
    /** Never answers. */
    | { readonly kind: 'silence' }
    /** Says 200 and puts the error into the body, as S3 does when completing takes long. */
    | { readonly kind: 'error_in_200'; readonly code: string }
    /** Announces the whole body and sends this many bytes of it. */
    | { readonly kind: 'short_body'; readonly bytes: number }
    /** Returns the bytes of another object. */
    | { readonly kind: 'bytes_of'; readonly key: string }
    /** Announces the whole body, sends this many bytes of it, and goes silent. */
    | { readonly kind: 'stalled_body'; readonly bytes: number }
    /** Returns the object's bytes with one bit turned over, and a checksum that fits them. */
    | { readonly kind: 'flip_in_transit' }
    /** Keeps the bytes with one bit turned over, under the checksum of the good ones. */
    | { readonly kind: 'corrupt_at_rest' }
    /** Names a checksum (GetObject) or an ETag that belongs to other bytes. */
    | { readonly kind: 'wrong_checksum' }
    | { readonly kind: 'wrong_etag' }
    /** Leaves the first key out of a listing. */
    | { readonly kind: 'omit_key' }
    /** Says yes and does nothing. */
    | { readonly kind: 'no_effect' }
}

/** The name of a way to fail. */
export type S3FaultKind = S3Fault['does']['kind']

/** Faults by chance: each call decides for itself, the same way for the same seed. */
export interface S3RandomFaults {
  readonly seed: number
  /** Share of calls that fail. */
  readonly rate: number
  /** Ways that are left out. */
  readonly without?: readonly S3FaultKind[]
}

/** The double: an S3 server in this process that keeps everything in memory. */
export interface S3Double extends S3Server {
  /** Another door to the same objects: no fault meets who comes this way, and what is asked here is not written down. */
  readonly plainEndpoint: string
  /** Faults to come, in order. Tests push and look here; an empty list is a healthy server. */
  readonly faults: S3Fault[]
  /** What was asked, in order. */
  readonly requests: S3Operation[]
  /** How many calls failed by chance, by operation and way. */
  readonly struck: Readonly<Record<string, number>>
  /** A fitting fault for that share of all calls, besides those in `faults`; `null` = no more. */
  setRandomFaults(random: S3RandomFaults | null): void
  /** From here on only this key pair may do anything; the former one gets 403. Returns the new secret. */
  rotateKey(): string
  /** What is stored now, read past every fault. */
  objects(): ReadonlyMap<string, Buffer>
  /** Flips one bit of a stored object without touching its ETag. */
  corrupt(key: string): void
  /** The whole bucket disappears. */
  removeBucket(): void
}

interface Stored {
  bytes: Buffer
  readonly etag: string
  readonly modifiedAtMs: number
  readonly headers: Readonly<Record<string, string>>
}

interface Upload {
  readonly key: string
  readonly begunAtMs: number
  readonly headers: Readonly<Record<string, string>>
  readonly parts: Map<number, Stored>
}

interface State {
  readonly objects: Map<string, Stored>
  readonly uploads: Map<string, Upload>
  readonly faults: S3Fault[]
  readonly requests: S3Operation[]
  readonly struck: Record<string, number>
  random: S3RandomFaults | null
  /** Access key id that alone is accepted; `null` = any. */
  keyId: string | null
  bucketExists: boolean
}

interface Asked {
  readonly operation: S3Operation
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

interface Answer {
  readonly status: number
  readonly headers?: Record<string, string>
  readonly body?: Buffer | string
}

const bucket = 'store'

/** Starts the double on a free loopback port. */
export async function startS3Double(): Promise<S3Double> {
  const state: State = {
    objects: new Map(),
    uploads: new Map(),
    faults: [],
    requests: [],
    struck: {},
    random: null,
    keyId: null,
    bucketExists: true,
  }
  const server = await listen(state, (operation) => {
    state.requests.push(operation)
    return takeFault(state, operation) ?? drawFault(state, operation)
  })
  const plain = await listen(state, () => undefined)
  const running = {
    home: '',
    signal: () => {},
    stop: async () => void (await Promise.all([server.stop(), plain.stop()])),
  }
  return {
    ...describeS3(running, server.port, clientFor(`http://127.0.0.1:${server.port}`), bucket),
    plainEndpoint: `http://127.0.0.1:${plain.port}`,
    faults: state.faults,
    requests: state.requests,
    struck: state.struck,
    setRandomFaults: (random) => (state.random = random),
    rotateKey() {
      state.keyId = `rotated-${randomUUID().slice(0, 8)}`
      return `${state.keyId}:new`
    },
    objects: () => new Map([...state.objects].map(([key, { bytes }]) => [key, bytes])),
    corrupt(key) {
      const stored = state.objects.get(key)
      if (stored === undefined) throw new Error(`there is no ${key} to corrupt`)
      stored.bytes = oneBitOver(stored.bytes)
    },
    removeBucket: () => (state.bucketExists = false),
  }
}

type Fate = (operation: S3Operation) => S3Fault | undefined

async function listen(state: State, fate: Fate) {
  const server = createServer((request, response) => {
    serve(state, fate, request, response).catch((error: unknown) => response.destroy(new Error(String(error))))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server without a port')
  return {
    port: address.port,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function serve(state: State, fate: Fate, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1')
  const [, , ...rest] = url.pathname.split('/')
  const key = decodeURIComponent(rest.join('/'))
  const body = Buffer.concat((await request.toArray()).map((chunk) => Buffer.from(chunk)))
  const operation = operationOf(request.method ?? 'GET', key, url.searchParams)
  const asked: Asked = { operation, key, query: url.searchParams, headers: request.headers, body }
  const does = fate(operation)?.does
  if (does?.kind === 'silence') return
  if (does?.kind === 'cut_before') {
    request.socket.destroy()
    return
  }
  const answer = does?.kind === 'answer' ? refusal(does.status, does.code) : carryOut(state, asked, does)
  if (does?.kind === 'cut_after') {
    request.socket.destroy()
    return
  }
  const bytes = Buffer.from(answer.body ?? '')
  const length = answer.headers?.['content-length'] ?? String(bytes.length)
  response.writeHead(answer.status, { ...answer.headers, 'content-length': length })
  if (does?.kind === 'short_body' || does?.kind === 'stalled_body') {
    response.write(bytes.subarray(0, does.bytes), () => {
      if (does.kind === 'short_body') setTimeout(() => request.socket.destroy(), 20)
    })
    return
  }
  response.end(request.method === 'HEAD' ? undefined : bytes)
}

function operationOf(method: string, key: string, query: URLSearchParams): S3Operation {
  if (key === '') return method === 'HEAD' ? 'HeadBucket' : query.has('uploads') ? 'ListUploads' : 'ListObjects'
  if (method === 'POST') return query.has('uploads') ? 'CreateUpload' : 'CompleteUpload'
  if (method === 'PUT') return query.has('partNumber') ? 'UploadPart' : 'PutObject'
  if (method === 'DELETE') return query.has('uploadId') ? 'AbortUpload' : 'DeleteObject'
  if (method === 'HEAD') return 'HeadObject'
  return query.has('uploadId') ? 'ListParts' : 'GetObject'
}

function takeFault(state: State, operation: S3Operation): S3Fault | undefined {
  const fault = state.faults.find(({ on }) => on === operation)
  if (fault === undefined) return undefined
  if ((fault.after ?? 0) > 0) {
    fault.after = (fault.after ?? 0) - 1
    return undefined
  }
  fault.times = (fault.times ?? 1) - 1
  if (fault.times <= 0) state.faults.splice(state.faults.indexOf(fault), 1)
  return fault
}

/** What can happen to each operation. */
const fitting: Readonly<Record<S3Operation, readonly S3Fault['does'][]>> = (() => {
  const answer = (status: number, code: string) => ({ kind: 'answer', status, code }) as const
  const anything = [
    answer(500, 'InternalError'),
    answer(503, 'SlowDown'),
    answer(503, 'ServiceUnavailable'),
    { kind: 'cut_before' },
    { kind: 'cut_after' },
  ] as const
  const body = [{ kind: 'short_body', bytes: 10 }] as const
  const conflict = [answer(409, 'ConditionalRequestConflict'), answer(412, 'PreconditionFailed')] as const
  const inside = { kind: 'error_in_200', code: 'InternalError' } as const
  return {
    PutObject: [
      ...anything,
      ...conflict,
      answer(403, 'AccessDenied'),
      { kind: 'no_effect' },
      { kind: 'corrupt_at_rest' },
      { kind: 'wrong_etag' },
    ],
    GetObject: [
      ...anything,
      { kind: 'short_body', bytes: 1000 },
      { kind: 'stalled_body', bytes: 1000 },
      { kind: 'bytes_of', key: '' },
      { kind: 'flip_in_transit' },
      { kind: 'wrong_checksum' },
    ],
    HeadObject: [...anything, answer(403, 'AccessDenied')],
    DeleteObject: [...anything, { kind: 'no_effect' }],
    ListObjects: [...anything, ...body, { kind: 'omit_key' }],
    HeadBucket: anything,
    CreateUpload: [...anything, ...body],
    UploadPart: [...anything, { kind: 'corrupt_at_rest' }, { kind: 'wrong_etag' }],
    ListParts: [...anything, ...body],
    CompleteUpload: [...anything, ...body, ...conflict, inside],
    AbortUpload: [...anything, { kind: 'no_effect' }],
    ListUploads: [...anything, ...body],
  }
})()

function drawFault(state: State, operation: S3Operation): S3Fault | undefined {
  if (state.random === null) return undefined
  const { seed, rate, without = [] } = state.random
  const count = state.requests.filter((one) => one === operation).length
  const bytes = createHash('sha256').update(`${seed}/${operation}/${count}`).digest()
  if (bytes.readUInt32BE(0) / 2 ** 32 >= rate) return undefined
  const ways = fitting[operation].filter(({ kind }) => !without.includes(kind))
  const does = ways[bytes.readUInt32BE(4) % ways.length]
  if (does === undefined) return undefined
  const name = `${operation} ${does.kind === 'answer' ? does.code : does.kind}`
  state.struck[name] = (state.struck[name] ?? 0) + 1
  if (does.kind !== 'bytes_of') return { on: operation, does }
  const keys = [...state.objects.keys()]
  return { on: operation, does: { ...does, key: keys[bytes.readUInt32BE(8) % Math.max(1, keys.length)] ?? '' } }
}

function oneBitOver(bytes: Buffer): Buffer {
  const changed = Buffer.from(bytes)
  if (changed.length > 0) changed[changed.length >> 1] = (changed[changed.length >> 1] ?? 0) ^ 1
  return changed
}

function carryOut(state: State, asked: Asked, does: S3Fault['does'] | undefined): Answer {
  const answer = carryOutWell(state, asked, does)
  if (answer.status >= 300) return answer
  if (does?.kind === 'wrong_etag' && answer.headers?.['etag'] !== undefined)
    return { ...answer, headers: { ...answer.headers, etag: `"${md5(Buffer.from('other bytes'))}"` } }
  if (does?.kind === 'wrong_checksum')
    return { ...answer, headers: { ...answer.headers, 'x-amz-checksum-crc32': crcOf(Buffer.from('other bytes')) } }
  if (does?.kind === 'flip_in_transit') return { ...answer, body: oneBitOver(Buffer.from(answer.body ?? '')) }
  if (does?.kind === 'corrupt_at_rest') corruptKept(state, asked)
  return answer
}

function corruptKept(state: State, { operation, key, query }: Asked): void {
  const upload = state.uploads.get(query.get('uploadId') ?? '')
  const kept = operation === 'UploadPart' ? upload?.parts.get(Number(query.get('partNumber'))) : state.objects.get(key)
  if (kept !== undefined) kept.bytes = oneBitOver(kept.bytes)
}

/** What was signed, and what was sent beside it, where it is a hash of the body. */
function isHashOf(body: Buffer, headers: IncomingMessage['headers']): boolean {
  const hash = createHash('sha256').update(body).digest()
  const signed = headers['x-amz-content-sha256']
  const checksum = headers['x-amz-checksum-sha256']
  if (checksum !== undefined && checksum !== hash.toString('base64')) return false
  return typeof signed !== 'string' || !/^[0-9a-f]{64}$/.test(signed) || signed === hash.toString('hex')
}

// oxlint-disable-next-line consistent-return -- the switch is exhaustive, which the compiler checks
function carryOutWell(state: State, asked: Asked, does: S3Fault['does'] | undefined): Answer {
  if (!state.bucketExists) return refusal(404, 'NoSuchBucket')
  if (state.keyId !== null && asked.headers.authorization?.includes(`Credential=${state.keyId}/`) !== true)
    return refusal(403, 'InvalidAccessKeyId')
  if (does?.kind === 'error_in_200') return { ...refusal(200, does.code), status: 200 }
  if (does?.kind === 'no_effect') return { status: asked.operation === 'DeleteObject' ? 204 : 200 }
  const expected = asked.headers['x-amz-checksum-crc32']
  if (typeof expected === 'string' && asked.body.length > 0 && crcOf(asked.body) !== expected)
    return refusal(400, 'BadDigest')
  if (!isHashOf(asked.body, asked.headers)) return refusal(400, 'XAmzContentSHA256Mismatch')
  switch (asked.operation) {
    case 'PutObject':
      return publish(state, asked.key, asked.body, md5(asked.body), asked.headers)
    case 'GetObject':
      return get(state, does?.kind === 'bytes_of' ? does.key : asked.key, asked.headers.range)
    case 'HeadObject':
      return head(state, asked.key)
    case 'DeleteObject':
      state.objects.delete(asked.key)
      return { status: 204 }
    case 'HeadBucket':
      return { status: 200 }
    case 'ListObjects':
      return listObjects(state, asked.query, does?.kind === 'omit_key')
    case 'CreateUpload':
      return createUpload(state, asked)
    case 'ListUploads':
      return listUploads(state, asked.query)
    case 'UploadPart':
    case 'ListParts':
    case 'CompleteUpload':
    case 'AbortUpload':
      return withUpload(state, asked)
  }
}

function publish(
  state: State,
  key: string,
  bytes: Buffer,
  etag: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
): Answer {
  if (headers['if-none-match'] === '*' && state.objects.has(key)) return refusal(412, 'PreconditionFailed')
  state.objects.set(key, { bytes, etag, modifiedAtMs: Date.now(), headers: keptHeaders(headers) })
  return { status: 200, headers: { etag: `"${etag}"` } }
}

function keptHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  const kept = ['content-type', 'x-amz-storage-class', 'x-amz-server-side-encryption']
  return Object.fromEntries(kept.flatMap((name) => (typeof headers[name] === 'string' ? [[name, headers[name]]] : [])))
}

function head(state: State, key: string): Answer {
  const found = state.objects.get(key)
  if (found === undefined) return { status: 404 }
  const headers = {
    ...found.headers,
    etag: `"${found.etag}"`,
    'last-modified': new Date(found.modifiedAtMs).toUTCString(),
    'accept-ranges': 'bytes',
    'content-length': String(found.bytes.length),
  }
  return { status: 200, headers }
}

function get(state: State, key: string, range: string | undefined): Answer {
  const found = state.objects.get(key)
  if (found === undefined) return refusal(404, 'NoSuchKey')
  if (/GLACIER|DEEP/.test(found.headers['x-amz-storage-class'] ?? '')) return refusal(403, 'InvalidObjectState')
  const { headers } = head(state, key)
  const [, first = '', last = ''] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  if (first === '') return { status: 200, body: found.bytes, ...(headers === undefined ? {} : { headers }) }
  const size = found.bytes.length
  const start = Number(first)
  if (start >= size) return refusal(416, 'InvalidRange')
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  const partial = { 'content-range': `bytes ${start}-${end}/${size}`, 'content-length': String(end - start + 1) }
  return { status: 206, headers: { ...headers, ...partial }, body: found.bytes.subarray(start, end + 1) }
}

function listObjects(state: State, query: URLSearchParams, omitFirst: boolean): Answer {
  const prefix = query.get('prefix') ?? ''
  const after = query.get('continuation-token') ?? ''
  const keys = [...state.objects.keys()].filter((key) => key.startsWith(prefix) && key > after).sort()
  // Small pages, so that every listing test pages.
  const page = keys.slice(0, 3)
  const contents = page.slice(omitFirst ? 1 : 0).map((key) => {
    const found = state.objects.get(key)
    if (found === undefined) return ''
    const { bytes, etag, modifiedAtMs, headers } = found
    const tier = headers['x-amz-storage-class'] ?? 'STANDARD'
    return `<Contents><Key>${encodeURIComponent(key)}</Key><Size>${bytes.length}</Size><ETag>&quot;${etag}&quot;</ETag><LastModified>${new Date(modifiedAtMs).toISOString()}</LastModified><StorageClass>${tier}</StorageClass></Contents>`
  })
  const more = keys.length > page.length
  const next = more ? `<NextContinuationToken>${escapeXml(page.at(-1) ?? '')}</NextContinuationToken>` : ''
  const body = `<IsTruncated>${more}</IsTruncated><EncodingType>url</EncodingType>${next}${contents.join('')}`
  return xml('ListBucketResult', body)
}

function createUpload(state: State, { key, headers }: Asked): Answer {
  const uploadId = `upload-${state.uploads.size + 1}-${Date.now()}`
  state.uploads.set(uploadId, { key, begunAtMs: Date.now(), headers: keptHeaders(headers), parts: new Map() })
  return xml('InitiateMultipartUploadResult', `<UploadId>${uploadId}</UploadId>`)
}

function listUploads(state: State, query: URLSearchParams): Answer {
  const prefix = query.get('prefix') ?? ''
  const uploads = [...state.uploads].filter(([, { key }]) => key.startsWith(prefix))
  const body = uploads.map(
    ([id, { key, begunAtMs }]) =>
      `<Upload><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId><Initiated>${new Date(begunAtMs).toISOString()}</Initiated></Upload>`,
  )
  return xml('ListMultipartUploadsResult', `<IsTruncated>false</IsTruncated>${body.join('')}`)
}

function withUpload(state: State, asked: Asked): Answer {
  const uploadId = asked.query.get('uploadId') ?? ''
  const upload = state.uploads.get(uploadId)
  if (upload === undefined || upload.key !== asked.key) return refusal(404, 'NoSuchUpload')
  if (asked.operation === 'UploadPart') {
    const etag = md5(asked.body)
    const number = Number(asked.query.get('partNumber'))
    upload.parts.set(number, { bytes: asked.body, etag, modifiedAtMs: Date.now(), headers: {} })
    return { status: 200, headers: { etag: `"${etag}"`, 'x-amz-checksum-crc32': crcOf(asked.body) } }
  }
  if (asked.operation === 'ListParts') {
    const parts = [...upload.parts].map(
      ([number, { bytes, etag }]) =>
        `<Part><PartNumber>${number}</PartNumber><Size>${bytes.length}</Size><ETag>&quot;${etag}&quot;</ETag></Part>`,
    )
    return xml('ListPartsResult', `<IsTruncated>false</IsTruncated>${parts.join('')}`)
  }
  if (asked.operation === 'AbortUpload') {
    state.uploads.delete(uploadId)
    return { status: 204 }
  }
  return complete(state, uploadId, upload, asked)
}

function complete(state: State, uploadId: string, upload: Upload, asked: Asked): Answer {
  const wanted = [...asked.body.toString().matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    etag: /<ETag>(?:&quot;|")?([0-9a-f]+)/.exec(part)?.[1],
  }))
  const parts = wanted.map(({ number }) => upload.parts.get(number))
  if (wanted.some(({ etag }, index) => parts[index]?.etag !== etag)) return refusal(400, 'InvalidPart')
  const bytes = Buffer.concat(parts.map((part) => part?.bytes ?? Buffer.alloc(0)))
  const etag = `${md5(bytes)}-${parts.length}`
  const published = publish(state, upload.key, bytes, etag, {
    ...upload.headers,
    'if-none-match': asked.headers['if-none-match'],
  })
  if (published.status !== 200) return published
  state.uploads.delete(uploadId)
  return xml('CompleteMultipartUploadResult', `<ETag>&quot;${etag}&quot;</ETag>`)
}

function refusal(status: number, code: string): Answer {
  return { ...xml('Error', `<Code>${code}</Code><Message>on purpose</Message>`), status }
}

function xml(root: string, inner: string): Answer {
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${inner}</${root}>`
  return { status: 200, headers: { 'content-type': 'application/xml' }, body }
}

function escapeXml(text: string): string {
  return text.replace(/[<>&'"\n\r\t]/g, (character) => `&#${character.charCodeAt(0)};`)
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}

function crcOf(bytes: Buffer): string {
  const crc = Buffer.alloc(4)
  crc.writeUInt32BE(crc32(bytes))
  return crc.toString('base64')
}
