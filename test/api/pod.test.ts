import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { notifyKey } from '../../src/api/compat/pod.ts'
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
