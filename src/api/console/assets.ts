import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Hono } from 'hono'
import type { AppEnv } from '../env.ts'

/** Stylesheet, script and icon: the only ones a page may load, all from this server. Each is read once. */
export function createAssets(): Hono<AppEnv> {
  const files = {
    'style.css': { type: 'text/css; charset=utf-8', bytes: readFileSync(new URL('style.css', import.meta.url)) },
    'icon.svg': { type: 'image/svg+xml', bytes: readFileSync(new URL('icon.svg', import.meta.url)) },
    'htmx.min.js': {
      type: 'text/javascript; charset=utf-8',
      bytes: readFileSync(createRequire(import.meta.url).resolve('htmx.org/dist/htmx.min.js')),
    },
  }
  const app = new Hono<AppEnv>()
  for (const [name, { type, bytes }] of Object.entries(files)) {
    const etag = `"${createHash('sha256').update(bytes).digest('base64url')}"`
    const headers = {
      'Content-Type': type,
      ETag: etag,
      'Cache-Control': 'no-cache',
      'X-Content-Type-Options': 'nosniff',
    }
    app.get(`/${name}`, (c) =>
      c.req.header('If-None-Match') === etag ? c.body(null, 304, headers) : c.body(new Uint8Array(bytes), 200, headers),
    )
  }
  return app
}
