import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { text as readText } from 'node:stream/consumers'
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import type { Terminal } from '../../src/cli/terminal.ts'
import { oneLine, progressBar, table } from '../../src/cli/terminal.ts'

/** An API of our own contract: what a path answers, and what was asked of it. */
interface Asked {
  readonly method: string
  readonly path: string
  readonly key: string | undefined
  readonly idempotencyKey: string | undefined
  readonly body: unknown
}
type Answer =
  { readonly status?: number; readonly body: unknown } | (() => { readonly status?: number; readonly body: unknown })

let server: Server
let url = ''
let folder = ''
let asked: Asked[] = []
let answers: Record<string, Answer> = {}

beforeEach(async () => {
  asked = []
  answers = {}
  folder = await mkdtemp(join(tmpdir(), 'cli-'))
  server = createServer((request, response) => void answerRequest(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
})
afterEach(async () => {
  process.exitCode = undefined
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await rm(folder, { recursive: true })
})

async function answerRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const text = await readText(request)
  const path = request.url!.replace('/api/v1', '')
  asked.push({
    method: request.method!,
    path,
    key: request.headers.authorization,
    idempotencyKey: request.headers['idempotency-key']?.toString(),
    body: text === '' ? undefined : JSON.parse(text),
  })
  const known = answers[`${request.method} ${path}`] ?? answers[`${request.method} ${path.replace(/\?.*/, '')}`]
  const missing = { status: 404, body: { code: 'not_found', detail: `No ${path}` } }
  const { status = 200, body } = known === undefined ? missing : typeof known === 'function' ? known() : known
  response.writeHead(status, { 'content-type': 'application/json' }).end(status === 204 ? '' : JSON.stringify(body))
}

async function run(...args: string[]): Promise<{ out: string; said: string; error: unknown }> {
  const out: string[] = []
  const said: string[] = []
  const terminal: Terminal = {
    answer: (line) => out.push(line),
    say: (line) => said.push(line),
    status: () => undefined,
  }
  const program = createProgram({
    env: { REELKEEP_HOME: folder, REELKEEP_URL: url, REELKEEP_KEY: 'rk_test' },
    terminal,
  })
  const error = await program.parseAsync(['node', 'reelkeep', ...args]).then(
    () => null,
    (thrown: unknown) => thrown,
  )
  return { out: out.join('\n'), said: said.join('\n'), error }
}

const summary = {
  id: '11111111-1111-4111-8111-111111111111',
  title: 'A talk\nwith two lines \u001b[31m',
  state: 'encoding',
  stateSinceMs: 1_790_000_000_000,
  waitingFor: 'the encoder',
  nextStep: 'it is archived',
  nextAtMs: null,
  recorderName: 'Hall',
  ownerName: null,
  sizeBytes: '9007199254740993',
  durationMs: 61_000,
  progressPercent: 40,
  onHold: true,
  problem: null,
  retainUntilMs: null,
  hasPoster: false,
  createdAtMs: 1_790_000_000_000,
  clockOffsetMs: 0,
  version: 3,
}
const hold = { id: '22222222-2222-4222-8222-222222222222', reason: 'a case', placedBy: summary.id, placedAtMs: 0 }
const detail = {
  ...summary,
  depositPath: 'hall/talk.mp4',
  sha256: 'ab'.repeat(32),
  tags: [],
  plan: {
    retainUntilMs: 1_850_000_000_000,
    reason: 'Kept for long',
    actions: [{ kind: 'remind', atMs: 1_849_000_000_000, reason: 'before' }],
  },
  planHash: 'cd'.repeat(32),
  holds: [hold],
  disposition: {
    state: 'requested',
    planHash: 'cd'.repeat(32),
    requestedBy: null,
    requestedAtMs: 0,
    reason: 'over',
    approvedBy: [],
    undoUntilMs: null,
  },
  copies: [],
  files: [],
  timeline: [{ seq: 1, atMs: 0, clockAtMs: null, actor: 'system', action: 'recording.accepted', detail: {} }],
}
const path = `/recordings/${summary.id}`

describe('reading', () => {
  test('ls shows a line per recording, and control characters of names do not reach the terminal', async () => {
    answers = { 'GET /recordings': { body: { items: [summary], nextCursor: null } } }
    const { out, error } = await run('ls')
    expect(error).toBeNull()
    expect(out.split('\n')).toHaveLength(2)
    expect(out).not.toContain('\u001b')
    expect(out).toContain('Encoding, 40 %, held')
    expect(asked[0]).toMatchObject({ method: 'GET', path: '/recordings?limit=50', key: 'Bearer rk_test' })
  })
  test('ls follows the pages, up to the limit', async () => {
    answers = {
      'GET /recordings?limit=100': { body: { items: [summary, summary], nextCursor: 'abc' } },
      'GET /recordings?limit=100&cursor=abc': { body: { items: [summary], nextCursor: null } },
    }
    expect((await run('ls', '--limit', '200', '--json')).out).toSatisfy((text: string) => JSON.parse(text).length === 3)
  })
  test('an empty list says what to do', async () => {
    answers = { 'GET /recordings': { body: { items: [], nextCursor: null } } }
    expect((await run('ls')).out).toContain('reelkeep drop')
  })
  test('show says what it waits for, its plan, its hold and how to approve', async () => {
    answers = { [`GET ${path}`]: { body: detail } }
    const { out } = await run('show', summary.id)
    for (const words of [
      'the encoder',
      'it is archived',
      'Kept for long',
      'HELD',
      `reelkeep approve ${summary.id}`,
      'Accepted',
    ])
      expect(out).toContain(words)
    expect(JSON.parse((await run('show', summary.id, '--json')).out)).toEqual(detail)
  })
})

describe('fixity', () => {
  const copy = {
    fileName: 'original.mp4',
    storeName: 'backup',
    site: 'b',
    state: 'verified',
    sizeBytes: '10',
    sha256: 'ab'.repeat(32),
    verifiedAtMs: 0,
    purgedAtMs: null,
    checkedAtMs: 2000,
    checkResult: 'ok',
    checkSinceMs: 2000,
    checkNote: null,
    mending: false,
  }

  test('one recording: waits until it was read again and mended, and says what was found', async () => {
    const looks = [
      [{ ...copy, checkedAtMs: 1000 }],
      [{ ...copy, state: 'failed', checkResult: 'failed', mending: true }],
      [{ ...copy, state: 'stored', checkResult: 'failed' }],
    ]
    const mended = { atMs: 2500, action: 'copy.mended', actor: 'system', seq: 2, clockAtMs: null }
    answers = {
      [`POST ${path}/fixity`]: { status: 202, body: { beganAtMs: 2000 } },
      [`GET ${path}`]: () => ({
        body: {
          ...detail,
          copies: looks.shift() ?? [copy],
          timeline: [{ ...mended, detail: { copies: 1, store: 'backup', files: ['original.mp4'] } }],
        },
      }),
    }
    const { out, error } = await run('fixity', '--recording', summary.id)
    expect(error).toBeNull()
    expect(looks).toEqual([])
    expect(out).toBe('1 copies read, 1 good.\ncopy.mended: 1 in backup (original.mp4)')
    expect(process.exitCode).toBeUndefined()
  })

  test('what could not run says since when and why; the exit code says that not all is good', async () => {
    const away = { ...copy, checkResult: 'could_not_run', checkSinceMs: 0, checkNote: 'store_unavailable: away' }
    answers = {
      [`POST ${path}/fixity`]: { status: 202, body: { beganAtMs: 2000 } },
      [`GET ${path}`]: { body: { ...detail, copies: [copy, away] } },
    }
    const { out } = await run('fixity', '--recording', summary.id)
    expect(out).toContain('2 copies read, 1 good.')
    expect(out).toMatch(/backup +could not run, since 1970-01-01 00:00Z +store_unavailable: away/)
    expect(process.exitCode).toBe(1)
  })

  test('everything: waits for the last recording', async () => {
    const standing = { recordings: 3, waiting: 2, oldestCheckAtMs: 1, failed: 0, couldNotRun: 0, mending: 0, asked: 0 }
    const looks = [standing, { ...standing, waiting: 0, mending: 1 }]
    answers = {
      'POST /fixity': { status: 202, body: { beganAtMs: 2000 } },
      'GET /fixity': () => ({ body: looks.shift() ?? { ...standing, waiting: 0 } }),
    }
    const { out } = await run('fixity')
    expect(out).toContain('3 recording(s) checked: 0 bad copies left')
    expect(asked.at(-1)?.path).toBe('/fixity?sinceMs=2000')
    expect(process.exitCode).toBeUndefined()
  })
})

describe('deciding', () => {
  test.each<[string[], string, unknown]>([
    [['claim', summary.id], 'claim', {}],
    [['claim', summary.id, '--title', 'New'], 'claim', { title: 'New' }],
    [['hold', summary.id, '--reason', 'a case'], 'hold', { reason: 'a case' }],
    [['release', summary.id], 'release', { holdId: hold.id }],
    [
      ['extend', summary.id, '--until', '2035-01-01', '--reason', 'x'],
      'extend',
      { untilMs: Date.UTC(2035, 0, 1), reason: 'x' },
    ],
    [['delete', summary.id, '--reason', 'x'], 'request-deletion', { reason: 'x' }],
    [['approve', summary.id], 'approve-deletion', { planHash: detail.planHash }],
    [['approve', summary.id, '--plan', 'ee'], 'approve-deletion', { planHash: 'ee' }],
    [['reject', summary.id, '--reason', 'x'], 'reject-deletion', { reason: 'x' }],
    [['undo', summary.id], 'undo', {}],
    [['retry', summary.id], 'resolve', { option: 'retry' }],
    [['retry', summary.id, '--option', 'give_up'], 'resolve', { option: 'give_up' }],
  ])('%j', async (args, command, body) => {
    answers = { [`GET ${path}`]: { body: detail }, [`POST ${path}/${command}`]: { body: detail } }
    const { out, error } = await run(...args)
    expect(error).toBeNull()
    expect(asked.find(({ method }) => method === 'POST')).toMatchObject({ path: `${path}/${command}`, body })
    expect(out).toContain('Next: it is archived')
  })
  test('a command whose answer got lost is repeated under the same Idempotency-Key', async () => {
    let times = 0
    const away = { status: 503, body: { code: 'pipeline_unavailable', detail: 'away' } }
    answers = {
      [`GET ${path}`]: { body: detail },
      [`POST ${path}/undo`]: () => (++times === 1 ? away : { body: detail }),
    }
    expect((await run('undo', summary.id)).error).toBeNull()
    const posts = asked.filter(({ method }) => method === 'POST')
    expect(posts).toHaveLength(2)
    expect(posts[0]?.idempotencyKey).toBe(posts[1]?.idempotencyKey)
    expect(posts[0]?.idempotencyKey).toMatch(/^[0-9a-f-]{36}$/)
  })
  test("a refusal is the API's own words and code, asked once", async () => {
    answers = { [`POST ${path}/undo`]: { status: 409, body: { code: 'undo_window_over', detail: 'Too late.' } } }
    expect((await run('undo', summary.id)).error).toMatchObject({ code: 'undo_window_over', message: 'Too late.' })
    expect(asked).toHaveLength(1)
  })
  test('what is missing or wrong is said before anything is asked', async () => {
    expect((await run('hold', summary.id)).error).toMatchObject({ exitCode: 1 })
    expect((await run('retry', summary.id, '--option', 'explode')).error).toMatchObject({ code: 'invalid_request' })
    expect((await run('extend', summary.id, '--until', 'tomorrow', '--reason', 'x')).said).toContain('2030-12-31')
    expect(asked).toEqual([])
  })
})

describe('drop', () => {
  const places = (inbox: string): Record<string, Answer> => ({
    'GET /recorders': {
      body: { items: [{ id: 'r', name: 'Hall', inboxId: 'i', directory: 'hall', assignment: 'claim' }] },
    },
    'GET /stores': { body: { items: [{ id: 'i', name: 'Inbox', role: 'inbox', url: pathToFileURL(inbox).href }] } },
    'GET /deposits': { body: { items: [], nextCursor: null } },
  })
  test('puts the whole file into the inbox under its own name and leaves nothing else there', async () => {
    const file = join(folder, "it's 100% & more.mp4")
    await writeFile(file, 'bytes')
    await mkdir(join(folder, 'in box'))
    answers = places(join(folder, 'in box'))
    expect((await run('drop', file, '--recorder', 'Hall', '--no-wait')).error).toBeNull()
    expect(await readdir(join(folder, 'in box', 'hall'))).toEqual(["it's 100% & more.mp4"])
    expect(await readFile(join(folder, 'in box', 'hall', "it's 100% & more.mp4"), 'utf8')).toBe('bytes')
    expect((await run('drop', file, '--recorder', 'Hall', '--no-wait')).error).toMatchObject({ code: 'object_exists' })
  })
  test('waits, and a refused file ends with exit code 1 and the reason', async () => {
    const file = join(folder, 'bad.mp4')
    await writeFile(file, 'bytes')
    await mkdir(join(folder, 'inbox'))
    let looks = 0
    const deposit = {
      id: 'd',
      path: 'hall/bad.mp4',
      sizeBytes: '5',
      state: 'quarantined',
      recordingId: null,
      reason: 'It is no video.',
      nextStep: 'Replace it.',
    }
    answers = {
      ...places(join(folder, 'inbox')),
      'GET /deposits': () => ({ body: { items: ++looks < 3 ? [] : [deposit], nextCursor: null } }),
    }
    const { out, error } = await run('drop', file, '--recorder', 'Hall')
    expect(error).toBeNull()
    expect(out).toContain('It is no video. Next: Replace it.')
    expect(process.exitCode).toBe(1)
  })
  test.each([
    ['of an upload that still runs', 'cut.mp4.part', 'here', 'invalid_request', 'Rename the file'],
    ['in a directory of another machine', 'fine.mp4', 'elsewhere', 'store_unavailable', 'where Reelkeep runs'],
  ])('a name %s is refused before anything is written', async (_, name, inbox, code, words) => {
    await mkdir(join(folder, 'here'))
    await writeFile(join(folder, name), 'bytes')
    answers = places(join(folder, inbox))
    const { error } = await run('drop', join(folder, name), '--recorder', 'Hall')
    expect(error).toMatchObject({ code, message: expect.stringContaining(words) })
    expect((await readdir(folder)).sort()).toEqual([name, 'here'].sort())
    expect(await readdir(join(folder, 'here'))).toEqual([])
  })
  test('an unknown recorder is answered with those there are', async () => {
    answers = places(folder)
    expect((await run('drop', 'x', '--recorder', 'Moon')).error).toMatchObject({
      message: expect.stringContaining('"Hall"'),
    })
  })
})

test('recorder add makes the directory from the name and finds the only inbox', async () => {
  answers = {
    'GET /stores': { body: { items: [{ id: 'i', name: 'Inbox', role: 'inbox' }] } },
    'POST /recorders': { status: 201, body: { id: 'r', name: 'Großer Saal 2', directory: 'großer-saal-2' } },
  }
  expect((await run('recorder', 'add', 'Großer Saal 2')).error).toBeNull()
  expect(asked.at(-1)?.body).toEqual({
    name: 'Großer Saal 2',
    inboxId: 'i',
    directory: 'großer-saal-2',
    assignment: 'claim',
  })
})

test('without an API it says how to start one', async () => {
  url = 'http://127.0.0.1:1'
  expect((await run('ls')).error).toMatchObject({ message: expect.stringContaining('reelkeep up') })
})

test('without a stack in the home, doctor still looks, and nothing else is invented', async () => {
  expect((await run('down')).out).toContain('Nothing runs')
  expect((await run('migrate')).error).toMatchObject({ code: 'invalid_config' })
})

test('tables and bars', () => {
  expect(
    table(
      ['A', 'B'],
      [
        ['x', 'long'],
        ['longer', ''],
      ],
    ),
  ).toBe('A       B\nx       long\nlonger')
  expect(progressBar(50, 4)).toBe('[##--] 50 %')
  expect(progressBar(999, 4)).toBe('[####] 100 %')
  expect(oneLine('a\r\nb\u202ec')).toBe('a��b�c')
})
