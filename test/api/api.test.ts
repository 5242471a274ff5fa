import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStage } from './stage.ts'
import type { Stage, TestResponse } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
})
afterAll(() => stage?.close())

async function problemOf(
  response: TestResponse,
): Promise<{ status: number; code: string; detail: string; next: string; instance: string }> {
  expect(response.headers.get('content-type')).toBe('application/problem+json')
  const problem = await response.json()
  expect(problem.status).toBe(response.status)
  expect(problem.next).not.toBe('')
  return problem
}

async function expectProblem(response: Promise<TestResponse>, status: number, code: string): Promise<void> {
  const problem = await problemOf(await response)
  expect([problem.status, problem.code]).toEqual([status, code])
}

describe('who may enter', () => {
  it.each([
    ['no key', {}],
    ['an unknown key', { Authorization: 'Bearer rk_unknown' }],
    ['no Bearer', { Authorization: 'Basic abc' }],
    ['an empty key', { Authorization: 'Bearer ' }],
    ['a key of 10,000 characters', { Authorization: `Bearer ${'x'.repeat(10_000)}` }],
    ['an unknown session', { Cookie: 'reelkeep_session=abc' }],
    ['the name of a door as key', { Authorization: 'Bearer accounts' }],
  ])('%s: 401 with WWW-Authenticate', async (_name, headers) => {
    const response = await stage.request('/api/v1/recordings', { key: null, headers })
    expect(response.headers.get('www-authenticate')).toBe('Bearer realm="reelkeep"')
    expect((await problemOf(response)).code).toBe('unauthenticated')
  })

  it('a read-only key reads, and writes nothing', async () => {
    const key = stage.a.keys.readOnly
    expect((await stage.request('/api/v1/recordings', { key })).status).toBe(200)
    await expectProblem(stage.request('/api/v1/people', { key, json: {} }), 403, 'forbidden')
    await expectProblem(stage.request('/api/v1/keys', { key }), 403, 'forbidden')
  })

  const person = { name: 'New', email: 'new@a.example', roles: ['user'] }
  it.each(['viewer', 'user', 'manager', 'operator', 'auditor'] as const)(
    '%s manages neither people nor keys',
    async (role) => {
      const key = stage.a.keys[role]
      await expectProblem(stage.request('/api/v1/people', { key, json: person }), 403, 'forbidden')
      await expectProblem(stage.request('/api/v1/keys', { key }), 403, 'forbidden')
      await expectProblem(
        stage.request(`/api/v1/keys/${stage.a.adminKeyId}/revoke`, { key, method: 'POST' }),
        403,
        'forbidden',
      )
      await expectProblem(stage.request('/metrics', { key }), 403, 'forbidden')
    },
  )

  it('operators set recorders up, others do not', async () => {
    const json = { name: `R ${randomUUID()}`, inboxId: stage.a.inboxId, directory: randomUUID(), assignment: 'claim' }
    await expectProblem(stage.request('/api/v1/recorders', { key: stage.a.keys.user, json }), 403, 'forbidden')
    expect((await stage.request('/api/v1/recorders', { key: stage.a.keys.operator, json })).status).toBe(201)
  })

  it('a key is shown once, works, and is over once revoked', async () => {
    const json = { personId: stage.a.people.user, label: 'laptop', scopes: ['read'] }
    const headers = { 'Idempotency-Key': randomUUID() }
    const made = await (await stage.request('/api/v1/keys', { json, headers })).json()
    expect(made.key).toMatch(/^rk_[\w-]{43}$/)
    const again = await (await stage.request('/api/v1/keys', { json, headers })).json()
    expect([again.id, again.key]).toEqual([made.id, null])
    expect(JSON.stringify(await (await stage.request('/api/v1/keys')).json())).not.toContain(made.key)
    expect((await stage.request('/api/v1/recordings', { key: made.key })).status).toBe(200)
    expect((await stage.request(`/api/v1/keys/${made.id}/revoke`, { method: 'POST' })).status).toBe(200)
    expect((await stage.request('/api/v1/recordings', { key: made.key })).status).toBe(401)
  })
})

describe('another account', () => {
  it('has none of the ids of this one, on every route with an id', async () => {
    const recording = await stage.addRecording(stage.b)
    const fileId = await stage.addFile(stage.b, recording, {
      name: '720p.mp4',
      kind: 'video',
      contentType: 'video/mp4',
      bytes: Buffer.from('b'),
    })
    const json: Record<string, unknown> = {
      assign: { ownerId: stage.a.people.user },
      hold: { reason: 'x' },
      release: { holdId: randomUUID() },
      extend: { untilMs: 4e12, reason: 'x' },
      'request-deletion': { reason: 'x' },
      'approve-deletion': { planHash: 'a'.repeat(64) },
      'reject-deletion': { reason: 'x' },
      resolve: { option: 'retry' },
      'fast-forward': { durationMs: 1000 },
    }
    const ids: Record<string, string> = {
      recordings: recording,
      recorders: stage.b.recorderId,
      keys: stage.b.adminKeyId,
    }
    const description = await (await stage.request('/openapi.json')).json()
    let asked = 0
    for (const [path, operations] of Object.entries<Record<string, unknown>>(description.paths)) {
      if (!path.includes('{id}')) continue
      const [kind = '', , verb = ''] = path.split('/').slice(3)
      for (const method of Object.keys(operations)) {
        const address = path
          .replace('{id}', ids[kind] ?? '')
          .replace('{fileId}', fileId)
          .replace('{name}', '720p.mp4')
        const body = method === 'get' ? {} : { json: method === 'patch' ? {} : (json[verb] ?? {}) }
        const headers = { 'If-Match': '"1"' }
        const response = await stage.request(address, { method: method.toUpperCase(), ...body, headers })
        expect([method, address, response.status, (await problemOf(response)).code]).toEqual([
          method,
          address,
          404,
          'not_found',
        ])
        asked++
      }
    }
    expect(asked).toBeGreaterThanOrEqual(20)
    expect(stage.pipeline.commands.filter((command) => command.recordingId === recording)).toEqual([])
  })

  it('neither shows up in lists nor lends its people', async () => {
    await stage.addRecording(stage.b, { title: 'Secret of B' })
    for (const list of ['recordings', 'deposits', 'recorders', 'stores', 'people', 'keys'])
      expect(await (await stage.request(`/api/v1/${list}?`)).text()).not.toMatch(/Secret of B|B\.example/)
    const mine = await stage.addRecording(stage.a, { path: ['awaiting_claim'] })
    const lent = { ownerId: stage.b.people.user }
    await expectProblem(stage.request(`/api/v1/recordings/${mine}/assign`, { json: lent }), 400, 'invalid_request')
    const recorder = { name: 'X', inboxId: stage.b.inboxId, directory: 'x', assignment: 'claim' }
    await expectProblem(stage.request('/api/v1/recorders', { json: recorder }), 400, 'invalid_request')
    const managed = { ...recorder, inboxId: stage.a.inboxId, managerId: stage.b.people.manager }
    await expectProblem(stage.request('/api/v1/recorders', { json: managed }), 400, 'invalid_request')
    const key = { personId: stage.b.people.admin, label: 'theirs', scopes: ['admin'] }
    await expectProblem(stage.request('/api/v1/keys', { json: key }), 400, 'invalid_request')
  })
})

describe('sessions', () => {
  it('read freely, and write only from the same origin', async () => {
    const { signIn, signOut } = await import('../../src/api/auth.ts')
    expect(await signIn(stage.db, 'rk_wrong')).toBeNull()
    const session = await signIn(stage.db, stage.a.keys.operator)
    const ask = (headers: Record<string, string>, json?: unknown) =>
      stage.request('/api/v1/recorders', {
        key: null,
        headers: { Cookie: `reelkeep_session=${session!.token}`, ...headers },
        ...(json === undefined ? {} : { json }),
      })
    const recorder = () => ({
      name: randomUUID(),
      inboxId: stage.a.inboxId,
      directory: randomUUID(),
      assignment: 'claim',
    })
    expect((await ask({})).status).toBe(200)
    await expectProblem(ask({}, recorder()), 403, 'forbidden')
    await expectProblem(ask({ 'Sec-Fetch-Site': 'cross-site' }, recorder()), 403, 'forbidden')
    await expectProblem(
      ask({ 'Sec-Fetch-Site': 'same-site', Origin: 'http://127.0.0.1:8700' }, recorder()),
      403,
      'forbidden',
    )
    await expectProblem(ask({ Origin: 'http://evil.example' }, recorder()), 403, 'forbidden')
    expect((await ask({ 'Sec-Fetch-Site': 'same-origin' }, recorder())).status).toBe(201)
    expect((await ask({ Origin: 'http://127.0.0.1:8700' }, recorder())).status).toBe(201)
    await stage.owner.query(`update sessions set expires_at = now() - interval '1 second'`)
    expect((await ask({})).status).toBe(401)
    await stage.owner.query(`update sessions set expires_at = now() + interval '1 hour'`)
    expect((await ask({})).status).toBe(200)
    await signOut(stage.db, session!.token)
    expect((await ask({})).status).toBe(401)
  })

  it('end with the key they were begun with', async () => {
    const { signIn } = await import('../../src/api/auth.ts')
    const made = await (
      await stage.request('/api/v1/keys', { json: { personId: stage.a.people.user, label: 's', scopes: ['read'] } })
    ).json()
    const session = await signIn(stage.db, made.key)
    const ask = () =>
      stage.request('/api/v1/stores', { key: null, headers: { Cookie: `reelkeep_session=${session!.token}` } })
    expect((await ask()).status).toBe(200)
    await stage.request(`/api/v1/keys/${made.id}/revoke`, { method: 'POST' })
    expect((await ask()).status).toBe(401)
  })
})

describe('bad requests', () => {
  const hold = async () => `/api/v1/recordings/${await stage.addRecording(stage.a)}/hold`

  it.each<[string, { text?: string; json?: unknown; headers?: Record<string, string> }, number, string]>([
    ['an unknown field', { json: { reason: 'x', reasons: 'y' } }, 400, 'invalid_request'],
    ['a missing field', { json: {} }, 400, 'invalid_request'],
    ['__proto__ as a field', { text: '{"reason":"x","__proto__":{"a":1}}' }, 400, 'invalid_request'],
    ['a key given twice', { text: '{"reason":"x","reason":"y"}' }, 400, 'invalid_request'],
    ['a key given twice in disguise', { text: '{"reason":"x","re\\u0061son":"y"}' }, 400, 'invalid_request'],
    ['no JSON', { text: '{reason:1}' }, 400, 'invalid_request'],
    ['an empty body', { text: '' }, 400, 'invalid_request'],
    ['an array', { json: [] }, 400, 'invalid_request'],
    ['null', { text: 'null' }, 400, 'invalid_request'],
    ['a NUL', { json: { reason: 'a\u0000b' } }, 400, 'invalid_request'],
    ['half a surrogate pair', { text: '{"reason":"\\ud800"}' }, 400, 'invalid_request'],
    ['blanks only', { json: { reason: '   ' } }, 400, 'invalid_request'],
    ['too long a text', { json: { reason: 'x'.repeat(1001) } }, 400, 'invalid_request'],
    ['nesting without end', { text: `{"reason":${'['.repeat(50_000)}${']'.repeat(50_000)}}` }, 400, 'invalid_request'],
    [
      'a form',
      { text: 'reason=x', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } },
      415,
      'unsupported_media_type',
    ],
    [
      'another charset',
      { text: '{"reason":"x"}', headers: { 'Content-Type': 'application/json; charset=utf-16' } },
      415,
      'unsupported_media_type',
    ],
    [
      'a compressed body',
      { json: { reason: 'x' }, headers: { 'Content-Encoding': 'gzip' } },
      415,
      'unsupported_media_type',
    ],
    ['more than 1 MiB', { text: `{"reason":"${'x'.repeat(1024 * 1024)}"}` }, 413, 'body_too_large'],
    [
      'an Idempotency-Key with blanks',
      { json: { reason: 'x' }, headers: { 'Idempotency-Key': 'a b' } },
      400,
      'invalid_request',
    ],
  ])('%s', async (_name, options, status, code) => {
    const before = stage.pipeline.commands.length
    await expectProblem(stage.request(await hold(), { method: 'POST', ...options }), status, code)
    expect(stage.pipeline.commands).toHaveLength(before)
  })

  it.each([
    ['beyond 2^53', '9007199254740993'],
    ['beyond every double', '1e400'],
    ['a fraction', '1.5'],
    ['a string', '"1893456000000"'],
    ['null', 'null'],
    ['true', 'true'],
    ['hexadecimal', '0x10'],
    ['with a leading zero', '01'],
    ['not a number', 'NaN'],
  ])('a number that is %s', async (_name, number) => {
    const path = `/api/v1/recordings/${await stage.addRecording(stage.a)}/extend`
    const before = stage.pipeline.commands.length
    await expectProblem(stage.request(path, { text: `{"untilMs":${number},"reason":"x"}` }), 400, 'invalid_request')
    expect(stage.pipeline.commands).toHaveLength(before)
  })

  it('sizes travel as text, so that no reader rounds them', async () => {
    const text = await (await stage.request(`/api/v1/recordings/${await stage.addRecording(stage.a)}`)).text()
    expect(text).toContain('"sizeBytes":"1000"')
  })

  it.each(['*', 'W/"1"', '1', '"x"', '"1", "2"', '""', '"-1"', `"${'9'.repeat(400)}"`])(
    'an If-Match of %s is no version that was read',
    async (version) => {
      const id = await stage.addRecording(stage.a)
      const options = { method: 'PATCH', json: { title: 'New' }, headers: { 'If-Match': version } }
      const response = await stage.request(`/api/v1/recordings/${id}`, options)
      expect([400, 412]).toContain(response.status)
      expect((await (await stage.request(`/api/v1/recordings/${id}`)).json()).title).toBe('Lecture')
    },
  )

  it('no body and no type, where fields are needed', async () => {
    await expectProblem(stage.request(await hold(), { method: 'POST' }), 400, 'invalid_request')
  })

  it.each([
    'limit=0',
    'limit=201',
    'limit=1000000000',
    'limit=-1',
    'limit=1.5',
    'limit=x',
    'limit=1e99',
    'state=gone',
    'unknown=1',
    'recorderId=1',
    'text=%00',
    'problem=false',
  ])('?%s', async (query) => {
    await expectProblem(stage.request(`/api/v1/recordings?${query}`), 400, 'invalid_request')
  })

  const forged = (content: unknown) => Buffer.from(JSON.stringify(content)).toString('base64url')
  it.each([
    ['', 'x'],
    ['', '%00'],
    ['', forged({ t: 1 })],
    ['', forged({ t: 'x', id: randomUUID() })],
    ['', forged({ t: 1, id: "' or 1=1" })],
    ['', forged({ t: 1e300, id: randomUUID() })],
    ['', forged({ t: 8.65e15, id: randomUUID() })],
    ['', forged({ t: -5, id: randomUUID() })],
    ['', forged({ t: 1, id: randomUUID(), more: 1 })],
    ['', `${forged({ t: 1, id: randomUUID() })}=`],
  ])('a forged cursor %s%s', async (_nothing, cursor) => {
    for (const list of ['recordings', 'deposits'])
      await expectProblem(stage.request(`/api/v1/${list}?cursor=${cursor}`), 400, 'invalid_cursor')
  })

  it.each([
    '/api/v1/recordings/1',
    '/api/v1/recordings/%00',
    '/api/v1/recordings/x%27--',
    '/api/v1//recordings',
    '/api/v1/nothing',
    '/api/v1/recordings/%2e%2e/%2e%2e/',
    '/nothing',
    '//evil.example/x',
    '/api/v1/recordings/1/media/..%2f..%2fetc%2fpasswd',
    `/api/v1/recordings/${randomUUID()}/media/%00`,
    `/api/v1/recordings/${randomUUID()}`,
    '/api/v1/keys/abc',
  ])('%s is nothing', async (path) => {
    const response = await stage.request(path)
    expect([200, 404]).toContain(response.status)
    if (path !== '/api/v1/recordings/%2e%2e/%2e%2e/') expect(response.status).toBe(404)
  })

  it('what nobody expected is a 500 that tells nothing but its reference', async () => {
    stage.pipeline.failure = new Error('secret at /etc/x')
    const problem = await problemOf(await stage.request(await hold(), { json: { reason: 'x' } }))
    stage.pipeline.failure = null
    expect(problem.status).toBe(500)
    expect(problem.instance).toMatch(/^urn:uuid:[0-9a-f-]{36}$/)
    expect(JSON.stringify(problem)).not.toContain('secret')
  })

  it('a pipeline that is away is a 503 with Retry-After', async () => {
    stage.pipeline.away = true
    const response = await stage.request(await hold(), { json: { reason: 'x' } })
    stage.pipeline.away = false
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5'])
  })
})

describe('commands', () => {
  it('are decided early, given with who asks, and answered with the recording', async () => {
    const id = await stage.addRecording(stage.a, { path: ['awaiting_claim'] })
    const response = await stage.request(`/api/v1/recordings/${id}/claim`, {
      key: stage.a.keys.user,
      json: { title: ' Physics ' },
    })
    expect([response.status, (await response.json()).id]).toEqual([200, id])
    const given = stage.pipeline.commands.at(-1)
    expect(given?.request.command).toEqual({ kind: 'claim', title: 'Physics' })
    expect(given?.request.actor).toMatchObject({
      accountId: stage.a.id,
      personId: stage.a.people.user,
      roles: ['user'],
    })
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/claim`, { key: stage.a.keys.viewer, method: 'POST' }),
      403,
      'forbidden',
    )
    await expectProblem(stage.request(`/api/v1/recordings/${id}/undo`, { method: 'POST' }), 409, 'wrong_state')
  })

  it('each become the command of their name', async () => {
    const id = await stage.addRecording(stage.a, { path: ['awaiting_claim'] })
    await stage.request(`/api/v1/recordings/${id}/resolve`, { json: { option: 'give_up' } })
    expect(stage.pipeline.commands.at(-1)?.request.command).toEqual({ kind: 'resolve', option: 'give_up' })
    await stage.request(`/api/v1/recordings/${id}/request-deletion`, { json: { reason: 'empty' } })
    expect(stage.pipeline.commands.at(-1)?.request.command).toEqual({ kind: 'requestDeletion', reason: 'empty' })
    await stage.request(`/api/v1/recordings/${id}/assign`, { json: { ownerId: stage.a.people.user } })
    expect(stage.pipeline.commands.at(-1)?.request.command).toEqual({ kind: 'assign', ownerId: stage.a.people.user })
  })

  it('a deposit in quarantine is resolved under its own id', async () => {
    const id = randomUUID()
    await stage.owner.query(
      `insert into deposits (id, account_id, inbox_id, path, size_bytes, mtime_ms, file_id, state) values ($1, $2, $3, 'x.mp4', 1, 1, 'q', 'quarantined')`,
      [id, stage.a.id, stage.a.inboxId],
    )
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/resolve`, { key: stage.a.keys.user, json: { option: 'retry' } }),
      403,
      'forbidden',
    )
    await expectProblem(stage.request(`/api/v1/recordings/${id}/claim`, { method: 'POST' }), 404, 'not_found')
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/resolve`, { key: stage.b.keys.admin, json: { option: 'retry' } }),
      404,
      'not_found',
    )
    expect((await stage.request(`/api/v1/recordings/${id}/resolve`, { json: { option: 'retry' } })).status).toBe(204)
    expect(stage.pipeline.commands.at(-1)?.recordingId).toBe(id)
  })

  it('fast-forward moves the clock, for administrators', async () => {
    const id = await stage.addRecording(stage.a)
    const json = { durationMs: 86_400_000 }
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/fast-forward`, { key: stage.a.keys.operator, json }),
      403,
      'forbidden',
    )
    const moved = await (await stage.request(`/api/v1/recordings/${id}/fast-forward`, { json })).json()
    expect([moved.clockOffsetMs, stage.pipeline.forwards]).toEqual([86_400_000, [id]])
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/fast-forward`, { json: { durationMs: 2 ** 53 } }),
      400,
      'invalid_request',
    )
  })

  it('fast-forward is refused where the system was created without it', async () => {
    const id = await stage.addRecording(stage.a)
    await stage.owner.query('alter table system disable trigger user; update system set fast_forward = false')
    await expectProblem(
      stage.request(`/api/v1/recordings/${id}/fast-forward`, { json: { durationMs: 1 } }),
      409,
      'fast_forward_refused',
    )
    await stage.owner.query('update system set fast_forward = true; alter table system enable trigger user')
  })
})

describe('checking copies again', () => {
  const kept = ['awaiting_claim', 'claimed', 'encoding', 'archiving', 'protected', 'retained']
  const addKept = async () => {
    const id = await stage.addRecording(stage.a, { path: kept })
    const file = { name: 'manifest.json', kind: 'manifest', contentType: 'application/json', bytes: Buffer.from('{}') }
    await stage.addFile(stage.a, id, file)
    return id
  }

  it('begins for one recording, by who may resolve problems, and leaves its row in the trail', async () => {
    const id = await addKept()
    const path = `/api/v1/recordings/${id}/fixity`
    for (const key of ['viewer', 'user', 'auditor', 'readOnly'] as const)
      await expectProblem(stage.request(path, { key: stage.a.keys[key], method: 'POST' }), 403, 'forbidden')
    await expectProblem(stage.request(path, { key: stage.b.keys.admin, method: 'POST' }), 404, 'not_found')
    const began = await stage.request(path, { key: stage.a.keys.manager, method: 'POST' })
    expect([began.status, typeof (await began.json()).beganAtMs]).toEqual([202, 'number'])
    expect(stage.pipeline.checks).toEqual([id])
    const { timeline, copies } = await (await stage.request(`/api/v1/recordings/${id}`)).json()
    expect(timeline.at(-1)).toMatchObject({ action: 'fixity.requested', actor: 'manager A' })
    expect(copies[0]).toMatchObject({ checkedAtMs: null, checkResult: null, mending: false })
  })

  it('is refused where copies are not checked: not sealed, or on its way out', async () => {
    for (const path of [kept, [], [...kept, 'disposition_requested', 'approved', 'trashed']]) {
      const id = await stage.addRecording(stage.a, { path: path.slice(0, 6) })
      await stage.owner.query('alter table recordings disable trigger user')
      if (path.length > 6) await stage.owner.query(`update recordings set state = 'trashed' where id = $1`, [id])
      await stage.owner.query('alter table recordings enable trigger user')
      const asked = stage.request(`/api/v1/recordings/${id}/fixity`, { method: 'POST' })
      await expectProblem(asked, 409, 'wrong_state')
    }
  })

  it('begins for a whole account, and says how it stands', async () => {
    await addKept()
    await expectProblem(
      stage.request('/api/v1/fixity', { key: stage.a.keys.manager, method: 'POST' }),
      403,
      'forbidden',
    )
    const { beganAtMs } = await (await stage.request('/api/v1/fixity', { method: 'POST' })).json()
    expect(stage.pipeline.checks.at(-1)).toBe(stage.a.id)
    const standing = await (await stage.request(`/api/v1/fixity?sinceMs=${beganAtMs}`)).json()
    expect(standing).toEqual({
      recordings: standing.waiting,
      waiting: expect.any(Number),
      oldestCheckAtMs: null,
      failed: 0,
      couldNotRun: 0,
      mending: 0,
      asked: 0,
    })
    expect(standing.recordings).toBeGreaterThan(0)
    const theirs = await (await stage.request('/api/v1/fixity', { key: stage.b.keys.admin })).json()
    expect(theirs.recordings).toBe(0)
    await expectProblem(stage.request('/api/v1/fixity?since=1'), 400, 'invalid_request')
  })

  it('is what "again" means where copies disagree; the life is not asked', async () => {
    const id = await addKept()
    await stage.owner.query(
      `insert into problems (account_id, recording_id, stage, code, message, attempts, options)
       values ($1, $2, 'replicate', 'copies_disagree', 'They disagree.', 1, '{retry}')`,
      [stage.a.id, id],
    )
    const [commands, checks] = [stage.pipeline.commands.length, stage.pipeline.checks.length]
    const resolve = (key: string) =>
      stage.request(`/api/v1/recordings/${id}/resolve`, { key, json: { option: 'retry' } })
    await expectProblem(resolve(stage.a.keys.user), 403, 'forbidden')
    expect((await resolve(stage.a.keys.operator)).status).toBe(200)
    expect(stage.pipeline.checks.slice(checks)).toEqual([id])
    expect(stage.pipeline.commands).toHaveLength(commands)
  })
})

describe('an Idempotency-Key', () => {
  it('counts once, answers the same, and refuses another body', async () => {
    const id = await stage.addRecording(stage.a)
    const path = `/api/v1/recordings/${id}/hold`
    const headers = { 'Idempotency-Key': randomUUID() }
    const before = stage.pipeline.commands.length
    const first = await stage.request(path, { json: { reason: 'x' }, headers })
    const second = await stage.request(path, { json: { reason: 'x' }, headers })
    expect([second.status, second.headers.get('idempotency-replayed'), await second.json()]).toEqual([
      200,
      'true',
      await first.json(),
    ])
    expect(stage.pipeline.commands).toHaveLength(before + 1)
    await expectProblem(stage.request(path, { json: { reason: 'y' }, headers }), 422, 'idempotency_key_reused')
    const other = await stage.addRecording(stage.a)
    await expectProblem(
      stage.request(`/api/v1/recordings/${other}/hold`, { json: { reason: 'x' }, headers }),
      422,
      'idempotency_key_reused',
    )
    await expectProblem(
      stage.request(path, { json: { reason: 'x' }, headers, key: stage.a.keys.operator }),
      422,
      'idempotency_key_reused',
    )
  })

  it('is another one in another account', async () => {
    const headers = { 'Idempotency-Key': randomUUID() }
    for (const account of [stage.a, stage.b]) {
      const id = await stage.addRecording(account)
      const response = await stage.request(`/api/v1/recordings/${id}/hold`, {
        key: account.keys.admin,
        json: { reason: 'x' },
        headers,
      })
      expect((await response.json()).id).toBe(id)
    }
  })

  it('of a request that still runs is refused; one that failed may be repeated', async () => {
    const path = `/api/v1/recordings/${await stage.addRecording(stage.a)}/hold`
    const options = { json: { reason: 'x' }, headers: { 'Idempotency-Key': randomUUID() } }
    stage.pipeline.slowMs = 500
    const first = stage.request(path, options)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await expectProblem(stage.request(path, options), 409, 'idempotency_in_progress')
    expect((await first).status).toBe(200)
    stage.pipeline.slowMs = 0
    const later = { ...options, headers: { 'Idempotency-Key': randomUUID() } }
    stage.pipeline.away = true
    await expectProblem(stage.request(path, later), 503, 'pipeline_unavailable')
    stage.pipeline.away = false
    expect((await stage.request(path, later)).status).toBe(200)
  })

  it('makes one command of all repeats: the same request id', async () => {
    const path = `/api/v1/recordings/${await stage.addRecording(stage.a)}/hold`
    const options = { json: { reason: 'x' }, headers: { 'Idempotency-Key': randomUUID() } }
    await stage.request(path, options)
    await stage.owner.query('delete from idempotency_keys')
    await stage.request(path, options)
    const [last, before] = stage.pipeline.commands.slice(-2)
    expect(last?.request.requestId).toBe(before?.request.requestId)
  })

  it('of a process that died is free after a minute, not before', async () => {
    const path = `/api/v1/recordings/${await stage.addRecording(stage.a)}/hold`
    const options = { json: { reason: 'x' }, headers: { 'Idempotency-Key': randomUUID() } }
    await stage.request(path, options)
    const age = (seconds: number) =>
      stage.owner.query(
        `update idempotency_keys set status = null, body = null, created_at = now() - $2 * interval '1 second' where key = $1`,
        [options.headers['Idempotency-Key'], seconds],
      )
    await age(50)
    await expectProblem(stage.request(path, options), 409, 'idempotency_in_progress')
    await age(70)
    const again = await stage.request(path, options)
    expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, null])
  })

  it('a refusal is stored too', async () => {
    const id = await stage.addRecording(stage.a)
    const options = { method: 'POST', headers: { 'Idempotency-Key': randomUUID() } }
    await expectProblem(stage.request(`/api/v1/recordings/${id}/undo`, options), 409, 'wrong_state')
    const again = await stage.request(`/api/v1/recordings/${id}/undo`, options)
    expect(again.headers.get('idempotency-replayed')).toBe('true')
    expect((await problemOf(again)).code).toBe('wrong_state')
  })
})

describe('describing', () => {
  it('needs the version that was read', async () => {
    const path = `/api/v1/recordings/${await stage.addRecording(stage.a)}`
    const etag = (await stage.request(path)).headers.get('etag')!
    const change = (ifMatch: string | null, json: unknown, key?: string) =>
      stage.request(path, {
        method: 'PATCH',
        json,
        headers: ifMatch === null ? {} : { 'If-Match': ifMatch },
        ...(key === undefined ? {} : { key }),
      })
    await expectProblem(change(null, { title: 'x' }), 428, 'precondition_required')
    for (const stale of ['"0"', '*', 'x', 'W/"1"', '"99999999999999999999"'])
      await expectProblem(change(stale, { title: 'x' }), 412, 'precondition_failed')
    await expectProblem(change(etag, { title: 'x' }, stage.a.keys.user), 403, 'forbidden')
    await expectProblem(change(etag, { title: 'x', state: 'purged' }), 400, 'invalid_request')
    const changed = await change(etag, { title: 'Optics', description: 'Week 3', tags: ['physics', 'physics'] })
    expect(await changed.json()).toMatchObject({
      title: 'Optics',
      description: 'Week 3',
      tags: ['physics'],
      sizeBytes: '1000',
    })
    expect(changed.headers.get('etag')).not.toBe(etag)
    await expectProblem(change(etag, { title: 'Late' }), 412, 'precondition_failed')
    const { timeline } = await (await stage.request(path)).json()
    expect(timeline.at(-1)).toMatchObject({ action: 'recording.described', actor: 'admin A' })
  })
})

describe('lists', () => {
  it('page through everything once, newest first', async () => {
    const made: string[] = []
    for (let n = 0; n < 5; n++) made.unshift(await stage.addRecording(stage.a, { title: 'Paged 100%_x' }))
    const seen: string[] = []
    let cursor: string | null = ''
    while (cursor !== null) {
      const query: string = cursor === '' ? '' : `&cursor=${cursor}`
      const page: { items: { id: string }[]; nextCursor: string | null } = await (
        await stage.request(`/api/v1/recordings?text=100%25_&limit=2${query}`)
      ).json()
      expect(page.items.length).toBeLessThanOrEqual(2)
      seen.push(...page.items.map((item) => item.id))
      cursor = page.nextCursor
    }
    expect(seen).toEqual(made)
  })

  it('filter, and deposits page too', async () => {
    const claimed = await stage.addRecording(stage.a, { path: ['awaiting_claim', 'claimed'] })
    const { items } = await (await stage.request('/api/v1/recordings?state=claimed&problem=true')).json()
    expect(items).toEqual([])
    const found = await (
      await stage.request(`/api/v1/recordings?state=claimed&recorderId=${stage.a.recorderId}`)
    ).json()
    expect(found.items.map((item: { id: string }) => item.id)).toEqual([claimed])
    const first = await (await stage.request('/api/v1/deposits?limit=1')).json()
    const second = await (await stage.request(`/api/v1/deposits?limit=1&cursor=${first.nextCursor}`)).json()
    expect(first.items[0].id).not.toBe(second.items[0].id)
    expect(typeof first.items[0].sizeBytes).toBe('string')
  })
})

describe('recorders and people', () => {
  it('are set up, changed, and collide with a reason', async () => {
    const json = {
      name: 'Hall',
      inboxId: stage.a.inboxId,
      directory: 'hall',
      assignment: 'manager',
      managerId: stage.a.people.manager,
      ip: '10.0.0.9',
      notifySalt: 's3cret',
    }
    const made = await (await stage.request('/api/v1/recorders', { json })).json()
    expect(made).toMatchObject({ name: 'Hall', canNotify: true, quietMs: null })
    expect(JSON.stringify(made)).not.toContain('s3cret')
    await expectProblem(stage.request('/api/v1/recorders', { json }), 409, 'name_taken')
    await expectProblem(stage.request('/api/v1/recorders', { json: { ...json, name: 'Hall 2' } }), 409, 'name_taken')
    for (const directory of [
      '../x',
      '/x',
      'a//b',
      '',
      'a\\b',
      '.',
      '..',
      'a/..',
      'a/',
      'a\u0000b',
      'x'.repeat(256),
      '\ud800',
    ])
      await expectProblem(stage.request('/api/v1/recorders', { json: { ...json, directory } }), 400, 'invalid_request')
    const changed = await stage.request(`/api/v1/recorders/${made.id}`, {
      method: 'PATCH',
      json: { managerId: null, notifySalt: null, quietMs: 5000 },
    })
    expect(await changed.json()).toMatchObject({ managerId: null, canNotify: false, quietMs: 5000, name: 'Hall' })
    await expectProblem(
      stage.request(`/api/v1/recorders/${made.id}`, { method: 'PATCH', json: { directory: 'y' } }),
      400,
      'invalid_request',
    )
    const person = { name: 'Ada', email: 'ada@a.example', roles: ['user', 'manager'] }
    expect((await stage.request('/api/v1/people', { json: person })).status).toBe(201)
    await expectProblem(stage.request('/api/v1/people', { json: person }), 409, 'name_taken')
    await expectProblem(
      stage.request('/api/v1/people', { json: { ...person, email: 'no', roles: [] } }),
      400,
      'invalid_request',
    )
  })

  it('stores are shown without their parameters', async () => {
    await stage.owner.query(
      `insert into stores (account_id, name, site, role, url) values ($1, 'cloud', 'y', 'backup', 's3://bucket/x?secret=NAME')`,
      [stage.a.id],
    )
    const { items } = await (await stage.request('/api/v1/stores')).json()
    expect(items.find((store: { name: string }) => store.name === 'cloud').url).toBe('s3://bucket/x')
  })
})

describe('around the API', () => {
  it('openapi.json lists every route, and all of its references lead somewhere', async () => {
    const text = await (await stage.request('/openapi.json', { key: null })).text()
    const description = JSON.parse(text)
    expect(description.openapi).toBe('3.1.0')
    const listed = Object.entries<Record<string, { operationId: string; responses: object }>>(
      description.paths,
    ).flatMap(([path, operations]) => Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`))
    const served = stage.app.routes
      .filter((route) => route.path.startsWith('/api/v1') && route.method !== 'ALL')
      .map((route) => `${route.method} ${route.path.replaceAll(/:(\w+)(\{[^}]+\})?/g, '{$1}')}`)
    // The signed call of recorders is the only one that is described beside them: the others are not ours to describe.
    expect(listed.toSorted()).toEqual([...new Set(served), 'POST /record/recorder_notify/'].toSorted())
    const operations = Object.values<Record<string, { operationId: string; responses: Record<string, unknown> }>>(
      description.paths,
    ).flatMap((path) => Object.values(path))
    expect(new Set(operations.map((operation) => operation.operationId)).size).toBe(operations.length)
    for (const operation of operations)
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['4XX', '5XX']))
    for (const [, name = ''] of text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g))
      expect(description.components.schemas[name]).toBeDefined()
  })

  it('every answer carries the security headers', async () => {
    for (const path of ['/healthz', '/api/v1/recordings', '/api/v1/none', '/docs', '/openapi.json', '/sign-in']) {
      const { headers } = await stage.request(path)
      expect(headers.get('content-security-policy')).toMatch(/default-src '(self|none)'.*frame-ancestors 'none'/)
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('referrer-policy')).not.toBeNull()
      expect(headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/)
    }
  })

  it('the docs page is this machine alone, without inline scripts', async () => {
    const response = await stage.request('/docs', { key: null })
    const page = await response.text()
    expect(page).not.toMatch(/https?:|<script>|<style/)
    for (const [, path = ''] of page.matchAll(/(?:src|href)="([^"]+)"/g))
      expect((await stage.request(path, { key: null })).status).toBe(200)
  })

  it('links never follow the Host header', async () => {
    const response = await stage.app.request('http://evil.example/openapi.json')
    expect(await response.text()).not.toContain('evil.example')
  })

  it('health, readiness and metrics', async () => {
    expect(await (await stage.request('/healthz', { key: null })).json()).toEqual({ status: 'ok' })
    expect((await stage.request('/readyz', { key: null })).status).toBe(200)
    stage.pipeline.away = true
    const waiting = await stage.request('/readyz', { key: null })
    expect([waiting.status, await waiting.json()]).toEqual([
      503,
      { status: 'waiting', database: 'answers', temporal: 'does not answer' },
    ])
    stage.pipeline.away = false
    await expectProblem(stage.request('/metrics', { key: null }), 401, 'unauthenticated')
    const text = await (await stage.request('/metrics')).text()
    expect(text).toMatch(/reelkeep_http_requests_total\{method="GET",route="\/api\/v1\/recordings",status="200"\} \d+/)
    expect(text).toMatch(/reelkeep_recordings\{state="accepted"\} \d+/)
    expect(text).not.toMatch(/route="[^"]*[0-9a-f]{8}-/)
  })

  it('publishes the signing keys and the verifier', async () => {
    const { keys } = await (await stage.request('/.well-known/reelkeep-keys.json', { key: null })).json()
    expect(keys[0].keyId).toBe('0123456789abcdef')
    expect(await (await stage.request('/verify.mjs', { key: null })).text()).toContain('signature')
  })
})
