import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { notifyKey } from '../../src/api/compat/pod.ts'
import { signCall } from '../../src/api/compat/signed-notify.ts'
import { openStage } from './stage.ts'
import type { Stage, TestAccount } from './stage.ts'

let stage: Stage
beforeAll(async () => {
  stage = await openStage()
  const setUp = (account: TestAccount, ip: string | null, salt: string | null, assignment: string) =>
    stage.owner.query('update recorders set ip = $2, notify_salt = $3, assignment = $4 where id = $1', [
      account.recorderId,
      ip,
      salt,
      assignment,
    ])
  await setUp(stage.a, '192.168.1.1', 'abc', 'claim')
  await setUp(stage.b, '192.168.1.1', 'xyz', 'automatic')
  await stage.owner.query(
    `insert into recorders (account_id, inbox_id, name, directory, assignment, ip) values ($1, $2, 'silent', 'silent', 'claim', '10.0.0.1')`,
    [stage.a.id, stage.a.inboxId],
  )
})
afterAll(() => stage?.close())

async function notify(query: Record<string, string>, path = '/record/recorder_notify/'): Promise<string> {
  const response = await stage.request(`${path}?${new URLSearchParams(query).toString()}`, { key: null })
  expect(response.status).toBe(200)
  expect(response.headers.get('content-type')).toMatch(/^text\/plain/)
  return response.text()
}

const mediapath = 'lecture.mp4'

describe('the notify call of Pod recorders', () => {
  it('keys are what the code in the field makes', () => {
    expect(notifyKey('192_168_1_1', 'abc')).toBe('40502bdb9ab8142ed96a034946224031')
  })

  it.each(['/record/recorder_notify/', '/mediacourses_notify/', '/record/recorder_notify'])(
    '%s looks at the inbox',
    async (path) => {
      stage.pipeline.looks.length = 0
      expect(
        await notify({ recordingPlace: '192_168_1_1', mediapath, key: '40502bdb9ab8142ed96a034946224031' }, path),
      ).toBe('ok')
      expect(stage.pipeline.looks).toEqual([stage.a.inboxId])
    },
  )

  it('dots work, and the digest over dots for a place with underscores', async () => {
    const key = notifyKey('192.168.1.1', 'abc')
    expect(await notify({ recordingPlace: '192.168.1.1', mediapath, key })).toBe('ok')
    expect(await notify({ recordingPlace: '192_168_1_1', mediapath, key })).toBe('ok')
    expect(await notify({ recordingPlace: '192.168.1.1', mediapath, key: '40502bdb9ab8142ed96a034946224031' })).toBe(
      'nok: key is not valid',
    )
  })

  it('two accounts with one address: the salt says whose recorder it is', async () => {
    stage.pipeline.looks.length = 0
    expect(await notify({ recordingPlace: '192_168_1_1', mediapath, key: notifyKey('192_168_1_1', 'xyz') })).toBe(
      'auto',
    )
    expect(stage.pipeline.looks).toEqual([stage.b.inboxId])
  })

  it.each<[string, Record<string, string>, string]>([
    ['nothing', {}, 'nok: recordingPlace or mediapath or key are missing'],
    ['no key', { recordingPlace: '192_168_1_1', mediapath }, 'nok: recordingPlace or mediapath or key are missing'],
    ['no path', { recordingPlace: '192_168_1_1', key: 'x' }, 'nok: recordingPlace or mediapath or key are missing'],
    [
      'an unknown address',
      { recordingPlace: '1_1_1_1', mediapath, key: 'x' },
      'nok: address_ip not valid or recorder not found in this site',
    ],
    [
      'no address',
      { recordingPlace: "' or ''='", mediapath, key: 'x' },
      'nok: address_ip not valid or recorder not found in this site',
    ],
    [
      'a NUL',
      { recordingPlace: '\u0000', mediapath, key: 'x' },
      'nok: address_ip not valid or recorder not found in this site',
    ],
    ['a wrong key', { recordingPlace: '192_168_1_1', mediapath, key: 'x'.repeat(32) }, 'nok: key is not valid'],
    [
      'an upper-case key',
      { recordingPlace: '192_168_1_1', mediapath, key: '40502BDB9AB8142ED96A034946224031' },
      'nok: key is not valid',
    ],
    [
      'a recorder without a salt',
      { recordingPlace: '10.0.0.1', mediapath, key: notifyKey('10.0.0.1', '') },
      'nok: key is not valid',
    ],
  ])('%s', async (_name, query, answer) => {
    stage.pipeline.looks.length = 0
    expect(await notify(query)).toBe(answer)
    expect(stage.pipeline.looks).toEqual([])
  })

  it('what the path says changes nothing', async () => {
    for (const path of ['/etc/passwd', '../../x', '<script>', '%00'])
      expect(
        await notify({ recordingPlace: '192_168_1_1', mediapath: path, key: '40502bdb9ab8142ed96a034946224031' }),
      ).toBe('ok')
  })

  it('a pipeline that is away is no reason to alarm a recorder', async () => {
    stage.pipeline.away = true
    expect(await notify({ recordingPlace: '192_168_1_1', mediapath, key: '40502bdb9ab8142ed96a034946224031' })).toBe(
      'ok',
    )
    stage.pipeline.away = false
  })

  it('the door shows recorders of that address only, and nothing else', async () => {
    const seen = await stage.db.throughDoor('ip:192.168.1.1', async (tx) => ({
      recorders: (await tx.selectFrom('recorders').select('ip').execute()).map((row) => row.ip),
      people: await tx.selectFrom('people').select('id').execute(),
    }))
    expect(seen).toEqual({ recorders: ['192.168.1.1', '192.168.1.1'], people: [] })
  })
})

describe('the signed notify call', () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`
  const other = `whsec_${Buffer.alloc(32, 8).toString('base64')}`
  const place = '192.168.7.7'
  const body = JSON.stringify({ recordingPlace: place, mediapath })
  let counter = 0

  beforeAll(async () => {
    const setUp = { inboxId: stage.a.inboxId, assignment: 'claim', ip: place, notifySalt: 'abc', notifySecret: secret }
    const made = await stage.request('/api/v1/recorders', { json: { ...setUp, name: 'Signs', directory: 'signs' } })
    expect(made.status).toBe(201)
    const text = await made.text()
    expect(JSON.parse(text)).toMatchObject({ canNotify: true, signsNotify: true })
    expect(text).not.toContain(secret)
  })

  interface Call {
    readonly body?: string
    readonly id?: string
    readonly atSeconds?: number
    readonly signature?: (content: string) => string
    readonly headers?: Record<string, string>
    readonly path?: string
  }
  async function call(options: Call = {}) {
    const { id = `call-${(counter += 1)}`, atSeconds = Math.floor(Date.now() / 1000), path } = options
    const text = options.body ?? body
    const sign = options.signature ?? ((content: string) => signCall(secret, content))
    const before = stage.pipeline.looks.length
    const response = await stage.request(path ?? '/record/recorder_notify/', {
      key: null,
      text,
      headers: {
        'webhook-id': id,
        'webhook-timestamp': String(atSeconds),
        'webhook-signature': sign(`${id}.${atSeconds}.${text}`),
        ...options.headers,
      },
    })
    const answer = await response.text()
    const code = response.status === 200 ? answer : `${response.status} ${JSON.parse(answer).code}`
    return { code, answer, looks: stage.pipeline.looks.slice(before), headers: response.headers }
  }

  it('signs as Standard Webhooks does', () => {
    // The vector of its specification.
    expect(
      signCall(
        'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
        'msg_p5jXN8AQM9LWM0D4loKWxJek.1614265330.{"test": 2432232314}',
      ),
    ).toBe('v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=')
  })

  it.each(['/record/recorder_notify/', '/record/recorder_notify', '/mediacourses_notify/'])(
    '%s looks',
    async (path) => {
      expect(await call({ path })).toMatchObject({ code: 'ok', looks: [stage.a.inboxId] })
    },
  )

  const now = () => Math.floor(Date.now() / 1000)
  it.each<[string, () => Call, string]>([
    ['underscores', () => ({ body: JSON.stringify({ recordingPlace: '192_168_7_7' }) }), 'ok'],
    ['a clock 290 s behind', () => ({ atSeconds: now() - 290 }), 'ok'],
    ['a clock 290 s ahead', () => ({ atSeconds: now() + 290 }), 'ok'],
    [
      'two signatures, one of them right',
      () => ({ signature: (text) => `${signCall(other, text)} ${signCall(secret, text)}` }),
      'ok',
    ],
    ['a clock 310 s behind', () => ({ atSeconds: now() - 310 }), '401 unauthenticated'],
    ['a clock 310 s ahead', () => ({ atSeconds: now() + 310 }), '401 unauthenticated'],
    ['another secret', () => ({ signature: (text) => signCall(other, text) }), '401 unauthenticated'],
    ['another body than signed', () => ({ signature: () => signCall(secret, `x.${now()}.{}`) }), '401 unauthenticated'],
    ['no signature', () => ({ signature: () => '' }), '401 unauthenticated'],
    ['half a signature', () => ({ signature: (text) => signCall(secret, text).slice(0, 20) }), '401 unauthenticated'],
    [
      'a signature of another version',
      () => ({ signature: (text) => signCall(secret, text).replace('v1,', 'v1a,') }),
      '401 unauthenticated',
    ],
    [
      'the right one behind five guesses',
      () => ({ signature: (text) => `${`${signCall(other, text)} `.repeat(5)}${signCall(secret, text)}` }),
      '401 unauthenticated',
    ],
    ['an unknown address', () => ({ body: JSON.stringify({ recordingPlace: '1.1.1.1' }) }), '401 unauthenticated'],
    ['no address', () => ({ body: JSON.stringify({ recordingPlace: "' or ''='" }) }), '401 unauthenticated'],
    [
      'a recorder that has a salt alone',
      () => ({ body: JSON.stringify({ recordingPlace: '192.168.1.1' }) }),
      '401 unauthenticated',
    ],
    ['an unknown field', () => ({ body: JSON.stringify({ recordingPlace: place, key: 'x' }) }), '400 invalid_request'],
    ['no place', () => ({ body: '{}' }), '400 invalid_request'],
    ['no JSON', () => ({ body: 'recordingPlace=192.168.7.7' }), '400 invalid_request'],
    ['null', () => ({ body: 'null' }), '400 invalid_request'],
    ['an empty body', () => ({ body: '' }), '400 invalid_request'],
    ['no id', () => ({ id: '' }), '400 invalid_request'],
    ['an id with blanks', () => ({ id: 'a b' }), '400 invalid_request'],
    ['an id of 257 characters', () => ({ id: 'x'.repeat(257) }), '400 invalid_request'],
    ['a time that is no number', () => ({ headers: { 'webhook-timestamp': 'now' } }), '400 invalid_request'],
    ['a time in milliseconds', () => ({ atSeconds: Date.now() }), '400 invalid_request'],
    ['a time below zero', () => ({ atSeconds: -1 }), '400 invalid_request'],
    ['more than 1 MiB', () => ({ body: `{"recordingPlace":"${'x'.repeat(1024 * 1024)}"}` }), '413 body_too_large'],
  ])('%s', async (_, options, code) => {
    const answer = await call(options())
    expect(answer.code).toBe(code)
    expect(answer.looks).toEqual(code === 'ok' ? [stage.a.inboxId] : [])
    expect(answer.answer).not.toContain(secret)
  })

  it('counts once: the same call again is refused, also when both come at once, and whatever its time', async () => {
    const answers = await Promise.all([1, 2, 3, 4].map(() => call({ id: 'once' })))
    expect(answers.map(({ code }) => code).sort()).toEqual([
      '409 already_received',
      '409 already_received',
      '409 already_received',
      'ok',
    ])
    expect((await call({ id: 'once', atSeconds: now() + 60 })).code).toBe('409 already_received')
  })

  it('an id is remembered as long as its call could be sent again, and no longer', async () => {
    await call({ id: 'old' })
    const age = (seconds: number) =>
      stage.owner.query(`update notify_calls set seen_at = now() - $1 * interval '1 second' where call_id = 'old'`, [
        seconds,
      ])
    await age(590)
    expect((await call({ id: 'old' })).code).toBe('409 already_received')
    await age(610)
    expect((await call({ id: 'old' })).code).toBe('ok')
  })

  it('a call with a wrong signature uses no id up', async () => {
    expect((await call({ id: 'mine', signature: () => 'v1,x' })).code).toBe('401 unauthenticated')
    expect((await call({ id: 'mine' })).code).toBe('ok')
  })

  it('with a secret the unsigned call is off; without one it is on again', async () => {
    const key = notifyKey(place, 'abc')
    expect(await notify({ recordingPlace: place, mediapath, key })).toBe('nok: key is not valid')
    const { items } = await (await stage.request('/api/v1/recorders')).json()
    const { id } = items.find((one: { ip: string | null }) => one.ip === place)
    await stage.request(`/api/v1/recorders/${id}`, { method: 'PATCH', json: { notifySecret: null } })
    expect(await notify({ recordingPlace: place, mediapath, key })).toBe('ok')
    expect((await call()).code).toBe('401 unauthenticated')
    await stage.request(`/api/v1/recorders/${id}`, { method: 'PATCH', json: { notifySecret: secret } })
    expect((await call()).code).toBe('ok')
  })

  it.each([
    '',
    'short',
    'whsec_',
    `whsec_${Buffer.alloc(23).toString('base64')}`,
    `whsec_${Buffer.alloc(65).toString('base64')}`,
    `whsec_${'*'.repeat(44)}`,
    Buffer.alloc(32).toString('base64'),
  ])('"%s" is no secret', async (notifySecret) => {
    const json = { name: 'Weak', directory: 'weak', inboxId: stage.a.inboxId, assignment: 'claim', notifySecret }
    const response = await stage.request('/api/v1/recorders', { json })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({ code: 'invalid_request' })
  })

  it('a pipeline that is away is no reason to alarm a recorder', async () => {
    stage.pipeline.away = true
    expect((await call()).code).toBe('ok')
    stage.pipeline.away = false
  })

  it('ids of one account are not seen by another', async () => {
    await call({ id: 'private' })
    const seen = await stage.db.asAccount(stage.b.id, (tx) => tx.selectFrom('notify_calls').selectAll().execute())
    expect(seen).toEqual([])
  })
})
