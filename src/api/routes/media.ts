import { Readable } from 'node:stream'
import { createRoute, z } from '@hono/zod-openapi'
import type { RouteConfig } from '@hono/zod-openapi'
import type { Context } from 'hono'
import { findMediaFile } from '../../db/stores.ts'
import type { MediaFile } from '../../db/stores.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import type { ApiDeps, AppEnv } from '../env.ts'
import { decideRange } from '../ranges.ts'
import { createRoutes, idSchema, notFound, problems } from '../requests.ts'

const byRange = z.object({
  range: z.string().optional().openapi({ description: 'One byte range; several are answered by the whole file' }),
  'if-range': z.string().optional(),
  'if-none-match': z.string().optional(),
})
const content = { '*/*': { schema: z.string().openapi({ format: 'binary' }) } }
const responses = {
  200: { description: 'The whole file', content },
  206: { description: 'The part that was asked for', content },
  304: { description: 'You have it already' },
  ...problems,
} as const

const fileRoute = createRoute({
  method: 'get',
  path: '/recordings/{id}/files/{fileId}',
  operationId: 'readFile',
  tags: ['media'],
  summary: 'The bytes of one file: originals as a download, renditions to be played',
  request: { params: z.object({ id: idSchema, fileId: idSchema }), headers: byRange },
  responses,
})

/** The same by name, because playlists name their siblings. Registered by hand: a name has slashes. */
const nameRoute: RouteConfig = {
  method: 'get',
  path: '/recordings/{id}/media/{name}',
  operationId: 'readMedia',
  tags: ['media'],
  summary: 'The bytes of one file by its name, e.g. hls/master.m3u8',
  request: { params: z.object({ id: idSchema, name: z.string() }), headers: byRange },
  responses,
}

/** Bytes, for players and downloads. */
export function mediaRoutes(deps: ApiDeps) {
  const routes = createRoutes().openapi(fileRoute, async (c) => {
    const { id, fileId } = c.req.valid('param')
    return sendFile(c, deps, id, { id: fileId })
  })
  routes.openAPIRegistry.registerPath(nameRoute)
  routes.get('/recordings/:id/media/:name{[^]+}', async (c) => {
    const id = idSchema.safeParse(c.req.param('id'))
    const name = c.req.param('name')
    // Postgres refuses a NUL in text; no file has one in its name.
    if (!id.success || name.includes('\u0000')) throw notFound('No file')
    return sendFile(c, deps, id.data, { name })
  })
  return routes
}

async function sendFile(
  c: Context<AppEnv>,
  deps: ApiDeps,
  recordingId: string,
  which: { readonly id: string } | { readonly name: string },
): Promise<Response> {
  const { accountId } = c.get('actor')
  const file = await deps.db.asAccount(accountId, (tx) => findMediaFile(tx, recordingId, which))
  if (file === null) throw notFound('No file')
  const headers = headersOf(file)
  if (matches(c.req.header('If-None-Match'), headers.ETag)) return new Response(null, { status: 304, headers })
  const verdict = decideRange(isPartAllowed(c, headers.ETag) ? c.req.header('Range') : undefined, file.sizeBytes)
  if (verdict.kind === 'unsatisfiable')
    throw new ReelkeepError(
      'range_not_satisfiable',
      `${file.name} has ${file.sizeBytes} bytes; ask for a range inside them.`,
      {
        details: { sizeBytes: file.sizeBytes },
      },
    )
  const copy = await deps.stores.openCopy(accountId, recordingId, file.id)
  if (copy === null) throw notFound('No readable copy of a file')
  const part = verdict.kind === 'part'
  const [start, end] = part ? [verdict.start, verdict.end] : [0, file.sizeBytes - 1]
  const answer = {
    status: part ? 206 : 200,
    headers: {
      ...headers,
      'Content-Length': String(end - start + 1),
      ...(part ? { 'Content-Range': `bytes ${start}-${end}/${file.sizeBytes}` } : {}),
    },
  }
  if (c.req.method === 'HEAD' || file.sizeBytes === 0) return new Response(null, answer)
  const bytes = await copy.store.read(copy.key, part ? { start, end } : undefined, c.req.raw.signal)
  return new Response(Readable.toWeb(bytes) as ReadableStream, answer)
}

const playable: readonly MediaFile['kind'][] = ['video', 'hls', 'poster', 'sprite', 'audio']

function headersOf(file: MediaFile) {
  const inline = playable.includes(file.kind)
  return {
    // What a recorder deposited may claim to be anything: it is only ever a download, of no particular type.
    'Content-Type': inline ? file.contentType : 'application/octet-stream',
    'Content-Disposition': `${inline ? 'inline' : 'attachment'}; ${fileNameParameters(file.name)}`,
    'Content-Security-Policy': "default-src 'none'; sandbox; frame-ancestors 'none'",
    'Accept-Ranges': 'bytes',
    'Cache-Control': 'private, no-cache',
    ETag: `"${file.sha256}"`,
  }
}

/** @source RFC 6266 section 4.3: an ASCII name for old clients, the real one beside it */
function fileNameParameters(path: string): string {
  const name = path.split('/').at(-1) ?? path
  const ascii = name.replace(/[^\x20-\x7e]|["\\%;]/g, '_')
  const encoded = encodeURIComponent(name).replace(
    /['()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )
  return `filename="${ascii}"; filename*=UTF-8''${encoded}`
}

/** `Range` means nothing with HEAD, and a part of another version must never be glued to what the client has. */
function isPartAllowed(c: Context, etag: string): boolean {
  const ifRange = c.req.header('If-Range')
  return c.req.method !== 'HEAD' && (ifRange === undefined || ifRange.trim() === etag)
}

function matches(ifNoneMatch: string | undefined, etag: string): boolean {
  const tags = ifNoneMatch?.split(',').map((tag) => tag.trim().replace(/^W\//, '')) ?? []
  return tags.includes(etag) || tags.includes('*')
}
