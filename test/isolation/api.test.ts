import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hashSecret, makeKey } from '../../src/api/auth.ts'
import { ensureKey } from '../../src/db/accounts.ts'
import { findSameBytes } from '../../src/db/taken-in.ts'
import { roles, scopes } from '../../src/domain/permissions.ts'
import type { Scope } from '../../src/domain/permissions.ts'
import { baseUrl, openStage } from '../api/stage.ts'
import type { Stage } from '../api/stage.ts'
import { routeCases } from './routes.ts'
import type { Call, Ids, RouteCase } from './routes.ts'
import { dumpTables, fillAccount } from './two-accounts.ts'
import type { Belongings } from './two-accounts.ts'

let stage: Stage
let a: Belongings
let b: Belongings
/** A key of account A for every role with every set of scopes, by name. */
const keys = new Map<string, string>()
const scopeSets: readonly (readonly Scope[])[] = [['read'], ['write'], ['read', 'write'], scopes]

beforeAll(async () => {
  stage = await openStage()
  a = await fillAccount(stage, stage.a, 'aardvark')
  b = await fillAccount(stage, stage.b, 'buzzard')
  await stage.db.asAccount(stage.a.id, async (tx) => {
    for (const role of roles)
      for (const set of scopeSets) {
        const key = makeKey()
        const label = `${role} ${set.join('+')}`
        await ensureKey(tx, { personId: stage.a.people[role], label, keySha256: hashSecret(key), scopes: set })
        keys.set(label, key)
      }
  })
})
afterAll(() => stage?.close())

const everything = 'admin read+write+admin'

/** Routes as the app has them, middleware left out. */
function routesOf(): string[] {
  const routes = stage.app.routes.filter(({ method, path }) => method !== 'ALL' && !path.startsWith('/assets/'))
  return [...new Set(routes.map(({ method, path }) => `${method} ${path}`))]
}

interface Said {
  readonly status: number
  readonly headers: Record<string, string>
  readonly body: string
}

async function ask({ path, options = {} }: Call, key: string | null): Promise<Said> {
  const { method = 'GET', json, headers = {}, form } = options
  const body =
    form === undefined ? (json === undefined ? undefined : JSON.stringify(json)) : new URLSearchParams(form).toString()
  const type = form === undefined ? 'application/json' : 'application/x-www-form-urlencoded'
  const response = await stage.app.request(path, {
    method,
    headers: {
      ...(key === null ? {} : { Authorization: `Bearer ${key}` }),
      ...(body === undefined ? {} : { 'Content-Type': type }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
  })
  return { status: response.status, headers: Object.fromEntries(response.headers), body: await response.text() }
}

/** An answer without what differs between any two requests. */
function plain({ status, headers, body }: Said, ids: Ids) {
  const uuids = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g
  const cut = (text: string) =>
    [ids.word, ids.fileName, ids.path, encodeURIComponent(ids.path)]
      .reduce((left, own) => left.replaceAll(own, '<said>'), text)
      .replaceAll(uuids, '<id>')
      // Cursors and the names of polled parts hold what was asked for.
      .replaceAll(/(cursor|seen)=[^"&]*/g, '$1=<said>')
  return { status, headers: JSON.parse(cut(JSON.stringify(headers))) as unknown, body: cut(body) }
}

const absent = (): Ids => ({
  recording: randomUUID(),
  deposit: randomUUID(),
  recorder: randomUUID(),
  file: randomUUID(),
  hold: randomUUID(),
  person: randomUUID(),
  store: randomUUID(),
  inbox: randomUUID(),
  key: randomUUID(),
  fileName: 'gazelle.mp4',
  path: 'room-1/gazelle.mp4',
  word: 'gazelle',
})

/** Everything of the other account that must never be read here. */
const secretsOf = (other: Belongings) =>
  Object.entries(other).flatMap(([name, value]) =>
    name === 'states' ? Object.values(value as Belongings['states']) : [String(value)],
  )

const ownIds = (one: RouteCase): Ids => (one.state === undefined ? a : { ...a, recording: a.states[one.state] })
const foreignIds = (one: RouteCase): Ids => (one.state === undefined ? b : { ...b, recording: b.states[one.state] })

/** Every way to swap some of the ids: each alone, and all of them. */
function swaps(one: RouteCase): (readonly (keyof Ids)[])[] {
  return one.takes.length < 2 ? [one.takes] : [...one.takes.map((name) => [name]), one.takes]
}

const swapped = (ids: Ids, others: Ids, names: readonly (keyof Ids)[]): Ids => ({
  ...ids,
  ...Object.fromEntries(names.map((name) => [name, others[name]])),
})

/** The other account's thing and nobody's thing: the same answer, and not a word that is not in the request. */
async function compare(
  route: string,
  one: RouteCase,
  names: readonly (keyof Ids)[],
  who: string,
  key: string,
): Promise<void> {
  const about = `${route} as ${who}, swapped: ${names.join(', ')}`
  const theirs = swapped(ownIds(one), foreignIds(one), names)
  const nobodys = swapped(ownIds(one), absent(), names)
  const said = await ask(one.call(theirs), key)
  expect(plain(said, theirs), about).toEqual(plain(await ask(one.call(nobodys), key), nobodys))
  expect([200, 204, 303, 400, 403, 404], about).toContain(said.status)
  if (who === everything && /:id/.test(route) && names[0] !== 'person') expect(said.status, about).toBe(404)
  const leaked = secretsOf(b).filter((secret) => said.body.includes(secret) && !Object.values(theirs).includes(secret))
  expect(leaked, about).toEqual([])
}

const cases = Object.entries(routeCases).flatMap(([route, list]) => list.map((one, at) => ({ route, at, one })))

describe('every route', () => {
  test('has a case here: a new one has to say which ids it takes', () => {
    expect(routesOf().sort()).toEqual(Object.keys(routeCases).sort())
    expect(routesOf().length).toBeGreaterThan(50)
  })

  test('that the description names exists, and the other way round', async () => {
    const { paths } = JSON.parse((await ask({ path: '/openapi.json' }, null)).body) as {
      paths: Record<string, Record<string, unknown>>
    }
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    )
    const served = Object.keys(routeCases).filter(
      (route) => route === 'POST /record/recorder_notify/' || route.includes(' /api/v1/'),
    )
    expect(described.sort()).toEqual(served.map((route) => route.replace('{[^]+}', '')).sort())
  })

  test('with a thing of another account answers as if there were none, to every role and scope, and changes nothing', async () => {
    const before = await dumpTables(stage)
    let asked = 0
    for (const { route, one } of cases)
      for (const names of swaps(one).filter((list) => list.length > 0)) {
        const asking = [...keys].map(([who, key]) => compare(route, one, names, who, key))
        asked += (await Promise.all(asking)).length
      }
    process.stdout.write(`${asked} requests with ids of the other account\n`)
    expect(await dumpTables(stage)).toEqual(before)
    expect([stage.pipeline.commands, stage.pipeline.looks, stage.pipeline.forwards]).toEqual([[], [], []])
  }, 600_000)

  test('shows nothing of the other account, to every role and scope', async () => {
    const before = await dumpTables(stage)
    for (const { route, one } of cases.filter(({ route: name }) => name.startsWith('GET ')))
      for (const [who, key] of keys) {
        const { body, headers, status } = await ask(one.call(ownIds(one)), key)
        const told = `${JSON.stringify(headers)} ${body}`
        expect(
          secretsOf(b).filter((secret) => told.includes(secret)),
          `${route} as ${who}`,
        ).toEqual([])
        if (who === everything) expect(status, route).toBeLessThan(400)
      }
    expect(await dumpTables(stage)).toEqual(before)
  }, 300_000)

  test('is closed to whoever shows no key, a revoked one, or a session that is over', async () => {
    const revoked = makeKey()
    await stage.db.asAccount(stage.a.id, async (tx) => {
      await ensureKey(tx, { personId: stage.a.people.admin, label: 'old', keySha256: hashSecret(revoked), scopes })
      await tx.updateTable('api_keys').set({ revoked_at: new Date() }).where('label', '=', 'old').execute()
    })
    const before = await dumpTables(stage)
    for (const { route, one } of cases.filter(({ one: some }) => some.takes.length > 0))
      for (const key of [null, revoked, 'rk_nobody']) {
        const { status } = await ask(one.call(ownIds(one)), key)
        expect(route.includes('/api/') ? [401] : [303, 204], route).toContain(status)
      }
    expect(await dumpTables(stage)).toEqual(before)
  })

  test('carried out in one account leaves the other as it was', async () => {
    const others = await dumpTables(stage, stage.b.id)
    const reached: string[] = []
    for (const { route, at, one } of cases.filter(({ route: name }) => !name.startsWith('GET '))) {
      const { status } = await ask(one.call(ownIds(one)), keys.get(everything) ?? '')
      if (status < 400) reached.push(route)
      // Its own things are found: an answer of 404 above says something.
      if (one.takes.length > 0 && one.takes[0] !== 'store') expect(status, `${route} (${at})`).not.toBe(404)
    }
    expect(reached.length).toBeGreaterThan(12)
    expect(await dumpTables(stage, stage.b.id)).toEqual(others)
  })
})

describe('between two accounts', () => {
  test('one Idempotency-Key means two requests', async () => {
    const person = { name: 'Zoe', email: 'zoe@example.test', roles: ['viewer'] }
    const options = { json: person, headers: { 'Idempotency-Key': 'shared' } }
    const [first, second] = [
      await stage.request('/api/v1/people', options),
      await stage.request('/api/v1/people', { ...options, key: stage.b.keys.admin }),
    ]
    expect([first.status, second.status]).toEqual([201, 201])
    expect(second.headers.get('Idempotency-Replayed')).toBeNull()
    expect((await first.json()).id).not.toBe((await second.json()).id)
    const other = { json: { ...person, email: 'other@example.test' }, headers: options.headers }
    expect((await stage.request('/api/v1/people', other)).status).toBe(422)
    expect((await stage.request('/api/v1/people', { ...other, key: stage.b.keys.admin })).status).toBe(422)
  })

  test('a key that the other account used says nothing about it', async () => {
    const options = { json: { name: 'X', email: 'x@example.test', roles: ['viewer'] } }
    const theirs = await stage.request('/api/v1/people', {
      ...options,
      headers: { 'Idempotency-Key': 'key-of-buzzard' },
    })
    expect(theirs.status).toBe(201)
  })

  test('the same names, addresses and bytes may stand in both', async () => {
    const recorder = { name: 'Twin', directory: 'twin', assignment: 'claim', ip: '10.9.9.9' }
    for (const account of [stage.a, stage.b])
      expect(
        (
          await stage.request('/api/v1/recorders', {
            key: account.keys.admin,
            json: { ...recorder, inboxId: account.inboxId },
          })
        ).status,
      ).toBe(201)
    // Bytes that the other account keeps already are taken in like any: nothing is linked, nothing is refused.
    const taken = [stage.a, stage.b].map(async (account) => {
      const id = await stage.addRecording(account)
      await stage.owner.query('alter table recordings disable trigger recordings_guard')
      return stage.owner.query(`update recordings set sha256 = 'the same bytes' where id = $1`, [id])
    })
    expect((await Promise.all(taken)).map(({ rowCount }) => rowCount)).toEqual([1, 1])
    await stage.owner.query('alter table recordings enable trigger recordings_guard')
    for (const account of [stage.a, stage.b]) {
      const found = await stage.db.asAccount(account.id, (tx) => findSameBytes(tx, 'the same bytes'))
      const rows = await stage.owner.query(`select account_id from recordings where id = $1`, [found?.id])
      expect(rows.rows).toEqual([{ account_id: account.id }])
    }
  })

  test('an ETag of theirs opens nothing', async () => {
    const theirs = await stage.request(`/api/v1/recordings/${b.recording}`, { key: stage.b.keys.admin })
    const etag = theirs.headers.get('ETag') ?? ''
    for (const id of [b.recording, randomUUID()]) {
      const answer = await stage.request(`/api/v1/recordings/${id}`, {
        method: 'PATCH',
        json: { title: 'mine' },
        headers: { 'If-Match': etag },
      })
      expect(answer.status).toBe(404)
    }
  })

  test('a session reaches its own account and no other, and ends alone', async () => {
    const cookie = (word: string) => ({ Cookie: `reelkeep_session=session-of-${word}` })
    const page = (id: string, word: string) =>
      stage.request(`/recordings/${id}`, { key: null, headers: cookie(word) }).then(({ status }) => status)
    expect([await page(a.recording, 'aardvark'), await page(b.recording, 'buzzard')]).toEqual([200, 200])
    expect([await page(b.recording, 'aardvark'), await page(a.recording, 'buzzard')]).toEqual([404, 404])
    const others = await dumpTables(stage, stage.b.id)
    await stage.request('/sign-out', { key: null, method: 'POST', headers: { ...cookie('aardvark'), Origin: baseUrl } })
    expect([await page(a.recording, 'aardvark'), await page(b.recording, 'buzzard')]).toEqual([303, 200])
    expect(await dumpTables(stage, stage.b.id)).toEqual(others)
  })

  test('metrics count one account: neither its stock nor its requests show in the numbers of the other', async () => {
    const numbers = async () => {
      const text = await (await stage.request('/metrics')).text()
      // What the process itself uses is nobody's in particular, and reading the numbers is a request, too.
      return text.split('\n').filter((line) => line.startsWith('reelkeep_') && !line.includes('route="/metrics"'))
    }
    const before = await numbers()
    for (const path of ['/api/v1/people', '/api/v1/recordings', `/api/v1/recordings/${randomUUID()}`])
      await stage.request(path, { key: stage.b.keys.admin })
    await stage.addRecording(stage.b)
    expect(before.length).toBeGreaterThan(10)
    expect(await numbers()).toEqual(before)
    await stage.request('/api/v1/people')
    expect(await numbers()).not.toEqual(before)
  })

  test('a recorder that calls makes its own account look, wherever its address stands', async () => {
    const { notifyKey } = await import('../../src/api/compat/pod.ts')
    const call = (salt: string) =>
      stage.request(`/record/recorder_notify/?recordingPlace=10_1_2_3&mediapath=x&key=${notifyKey('10_1_2_3', salt)}`, {
        key: null,
      })
    stage.pipeline.looks.length = 0
    expect(await (await call('salt-of-buzzard')).text()).toBe('ok')
    expect(stage.pipeline.looks).toEqual([b.inbox])
    expect(await (await call('salt-of-nobody')).text()).toMatch(/^nok/)
  })
})
