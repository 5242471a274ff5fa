import { randomBytes, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { decideRange } from '../../src/api/ranges.ts'
import { openStage } from './stage.ts'
import type { Stage } from './stage.ts'

const bytes = randomBytes(1000)
let stage: Stage
let recording = ''
let path = ''
let etag = ''
beforeAll(async () => {
  stage = await openStage()
  recording = await stage.addRecording(stage.a, { path: ['awaiting_claim'] })
  const id = await stage.addFile(stage.a, recording, {
    name: 'renditions/720p.mp4',
    kind: 'video',
    contentType: 'video/mp4',
    bytes,
  })
  path = `/api/v1/recordings/${recording}/files/${id}`
  etag = (await stage.request(path)).headers.get('etag') ?? ''
})
afterAll(() => stage?.close())

describe('ranges', () => {
  const manyRanges = `bytes=${Array.from({ length: 1000 }, (_, n) => `${n}-${n}`).join(',')}`
  it.each<[string, string | undefined, number, [number, number] | null]>([
    ['none', undefined, 200, [0, 999]],
    ['the first byte', 'bytes=0-0', 206, [0, 0]],
    ['the middle', 'bytes=100-199', 206, [100, 199]],
    ['open end', 'bytes=900-', 206, [900, 999]],
    ['all of it', 'bytes=0-', 206, [0, 999]],
    ['end past the last byte', 'bytes=990-5000', 206, [990, 999]],
    ['the last ten', 'bytes=-10', 206, [990, 999]],
    ['more than there are, from the end', 'bytes=-5000', 206, [0, 999]],
    ['upper case and blanks', 'BYTES = 0 - 9', 206, [0, 9]],
    ['start past the end', 'bytes=1000-', 416, null],
    ['the last nothing', 'bytes=-0', 416, null],
    ['digits without end', `bytes=${'9'.repeat(400)}-`, 416, null],
    ['several', 'bytes=0-1,5-6', 200, [0, 999]],
    ['a thousand', manyRanges, 416, null],
    ['backwards', 'bytes=9-5', 200, [0, 999]],
    ['another unit', 'lines=1-2', 200, [0, 999]],
    ['no numbers', 'bytes=a-b', 200, [0, 999]],
    ['only a dash', 'bytes=-', 200, [0, 999]],
    ['nothing', 'bytes=', 200, [0, 999]],
  ])('%s', async (_name, range, status, part) => {
    const response = await stage.request(path, { headers: range === undefined ? {} : { Range: range } })
    expect(response.status).toBe(status)
    if (part === null) {
      expect(response.headers.get('content-range')).toBe('bytes */1000')
      expect((await response.json()).code).toBe('range_not_satisfiable')
      return
    }
    const expected = bytes.subarray(part[0], part[1] + 1)
    expect(Buffer.from(await response.arrayBuffer()).equals(expected)).toBe(true)
    expect(response.headers.get('content-length')).toBe(String(expected.length))
    expect(response.headers.get('content-range')).toBe(status === 206 ? `bytes ${part[0]}-${part[1]}/1000` : null)
    expect(response.headers.get('accept-ranges')).toBe('bytes')
  })

  it('nothing of an empty file can be given', () => {
    expect(decideRange('bytes=0-', 0).kind).toBe('unsatisfiable')
    expect(decideRange('bytes=-1', 0).kind).toBe('unsatisfiable')
    expect(decideRange(undefined, 0).kind).toBe('whole')
  })

  it('If-Range gives the part of the same version, else the whole', async () => {
    const Range = 'bytes=0-9'
    expect((await stage.request(path, { headers: { Range, 'If-Range': etag } })).status).toBe(206)
    for (const other of ['"other"', `W/${etag}`, 'Sat, 21 Nov 2026 05:00:00 GMT'])
      expect((await stage.request(path, { headers: { Range, 'If-Range': other } })).status).toBe(200)
  })

  it('HEAD has the headers and no body; what is known already is 304', async () => {
    const head = await stage.request(path, { method: 'HEAD', headers: { Range: 'bytes=0-9' } })
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([200, '1000', ''])
    for (const known of [etag, `W/${etag}, "x"`, '*'])
      expect((await stage.request(path, { headers: { 'If-None-Match': known } })).status).toBe(304)
    expect((await stage.request(path, { headers: { 'If-None-Match': '"x"' } })).status).toBe(200)
  })
})

describe('files', () => {
  it('renditions play, by id and by name, and are sniffed by nobody', async () => {
    const byName = await stage.request(`/api/v1/recordings/${recording}/media/renditions/720p.mp4`)
    expect(Buffer.from(await byName.arrayBuffer()).equals(bytes)).toBe(true)
    expect(byName.headers.get('content-type')).toBe('video/mp4')
    expect(byName.headers.get('content-disposition')).toBe(`inline; filename="720p.mp4"; filename*=UTF-8''720p.mp4`)
    expect(byName.headers.get('x-content-type-options')).toBe('nosniff')
    expect(byName.headers.get('content-security-policy')).toContain('sandbox')
    expect(etag).toMatch(/^"[0-9a-f]{64}"$/)
  })

  it('originals are downloads of no type, whatever they are called', async () => {
    const name = `or"i\n'gi;%nal é.html`
    const id = await stage.addFile(stage.a, recording, {
      name,
      kind: 'original',
      contentType: 'text/html',
      bytes: Buffer.from('<script>'),
    })
    const { headers } = await stage.request(`/api/v1/recordings/${recording}/files/${id}`)
    expect(headers.get('content-type')).toBe('application/octet-stream')
    expect(headers.get('content-disposition')).toBe(
      `attachment; filename="or_i_'gi__nal _.html"; filename*=UTF-8''or%22i%0A%27gi%3B%25nal%20%C3%A9.html`,
    )
    expect((await stage.request(`/api/v1/recordings/${recording}/media/${encodeURIComponent(name)}`)).status).toBe(200)
  })

  it('an empty one has no bytes', async () => {
    const id = await stage.addFile(stage.a, recording, {
      name: 'empty.vtt',
      kind: 'sprite',
      contentType: 'text/vtt',
      bytes: Buffer.alloc(0),
    })
    const response = await stage.request(`/api/v1/recordings/${recording}/files/${id}`)
    expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([200, '0', ''])
  })

  it.each([
    'nothing.mp4',
    '../720p.mp4',
    'renditions',
    'renditions/720p.mp4/',
    '%2e%2e/secret',
    'renditions%5c720p.mp4',
  ])('%s is nothing', async (name) => {
    expect((await stage.request(`/api/v1/recordings/${recording}/media/${name}`)).status).toBe(404)
  })

  it('the file of one recording is not under another', async () => {
    const other = await stage.addRecording(stage.a)
    expect((await stage.request(path.replace(recording, other))).status).toBe(404)
    expect((await stage.request(path.replace(/[^/]+$/, randomUUID()))).status).toBe(404)
  })

  it('a copy that is gone or has another size is not handed out', async () => {
    const id = await stage.addFile(stage.a, recording, {
      name: 'x.mp4',
      kind: 'video',
      contentType: 'video/mp4',
      bytes: Buffer.from('right'),
    })
    await writeFile(join(stage.root, 'A', 'primary', recording, 'x.mp4'), 'replaced by more')
    expect((await stage.request(`/api/v1/recordings/${recording}/files/${id}`)).status).toBe(404)
  })

  it('the next copy answers where the first store does not; without any it is 503', async () => {
    const id = await stage.addFile(stage.a, recording, {
      name: 'y.mp4',
      kind: 'video',
      contentType: 'video/mp4',
      bytes: Buffer.from('yes'),
    })
    const url = `local:${stage.root}/A/primary`
    await stage.owner.query(`update stores set url = 's3://x/y?secret=none' where id = $1`, [stage.a.primaryId])
    const down = await stage.request(`/api/v1/recordings/${recording}/files/${id}`)
    expect([500, 503]).toContain(down.status)
    const { rows } = await stage.owner.query(
      `insert into stores (account_id, name, site, role, url) values ($1, 'second', 'y', 'backup', $2) returning id`,
      [stage.a.id, url],
    )
    await stage.owner.query(
      `insert into copies (account_id, recording_id, file_id, store_id, state, verified_at) values ($1, $2, $3, $4, 'verified', now())`,
      [stage.a.id, recording, id, rows[0].id],
    )
    expect(await (await stage.request(`/api/v1/recordings/${recording}/files/${id}`)).text()).toBe('yes')
    await stage.owner.query('update stores set url = $2 where id = $1', [stage.a.primaryId, url])
  })

  it('what is in the trash is not handed out', async () => {
    expect((await stage.request(path)).status).toBe(200)
    for (const state of ['disposition_requested', 'approved'])
      await stage.owner.query('update recordings set state = $2 where id = $1', [recording, state])
    expect((await stage.request(path)).status).toBe(200)
    await stage.owner.query(`update recordings set state = 'trashed' where id = $1`, [recording])
    expect((await stage.request(path)).status).toBe(404)
    expect((await stage.request(`/api/v1/recordings/${recording}/media/renditions/720p.mp4`)).status).toBe(404)
    expect((await stage.request(`/api/v1/recordings/${recording}/certificate`)).status).toBe(404)
  })
})
