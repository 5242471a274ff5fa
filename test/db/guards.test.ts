import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrateUp } from '../../src/migrate.ts'
import { ensureAccount, ensurePerson, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { allowFastForward } from '../../src/db/clock.ts'
import { applyCommand } from '../../src/db/commands.ts'
import { openDatabase } from '../../src/db/connect.ts'
import type { Database } from '../../src/db/connect.ts'
import { findRecording, listEdges, listRecordings, writeWaiting } from '../../src/db/recordings.ts'
import type { Command } from '../../src/domain/commands.ts'
import type { Actor, Role } from '../../src/domain/permissions.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { recordingEdges } from '../../src/domain/recording.ts'
import { waitingAnew } from '../../src/domain/wording.ts'
import { freshDatabase } from '../setup/database.ts'
import type { FreshDatabase } from '../setup/database.ts'

let database: FreshDatabase
let db: Database
let owner: Client
const accounts: { id: string; actors: Actor[]; inbox: string; primary: string; recorder: string }[] = []

beforeAll(async () => {
  database = await freshDatabase()
  db = openDatabase(database.appUrl)
  owner = new Client(database.ownerUrl)
  await owner.connect()
  for (const name of ['one', 'two']) {
    const id = await ensureAccount(db, { name, policy: defaultPolicy })
    accounts.push(
      await db.asAccount(id, async (tx) => {
        const person = async (who: string, roles: Role[]): Promise<Actor> => ({
          accountId: id,
          name: who,
          roles,
          scopes: ['read', 'write'],
          personId: await ensurePerson(tx, { name: who, email: `${who}@${name}.test`, roles }),
        })
        const inbox = await ensureStore(tx, { name: 'inbox', site: 'a', role: 'inbox', url: 'local:/nowhere' })
        return {
          id,
          inbox,
          actors: [await person('ada', ['admin']), await person('ben', ['operator']), await person('una', ['user'])],
          primary: await ensureStore(tx, { name: 'primary', site: 'a', role: 'primary', url: 'local:/nowhere' }),
          recorder: await ensureRecorder(tx, { inboxId: inbox, name: 'hall', directory: 'hall', assignment: 'claim' }),
        }
      }),
    )
  }
})
afterAll(async () => {
  await owner?.end()
  await db?.close()
  await database?.drop()
})

const media = JSON.stringify({
  container: 'mp4',
  durationMs: 1000,
  sizeBytes: 1,
  video: null,
  audio: null,
  streamCount: 1,
  title: null,
  notes: [],
})

/** A recording in any state, by its lawful way there. */
async function makeRecording(account = accounts[0]!, ...path: string[]): Promise<string> {
  const id = randomUUID()
  await db.asAccount(account.id, async (tx) => {
    await tx
      .insertInto('deposits')
      .values({
        id,
        account_id: account.id,
        inbox_id: account.inbox,
        recorder_id: account.recorder,
        path: `${id}.mp4`,
        size_bytes: 1,
        mtime_ms: 1,
        file_id: id,
        state: 'accepted',
        end_signal: 'quiet',
        sha256: null,
        reason_code: null,
        reason: null,
        recording_id: id,
      })
      .execute()
    await tx
      .insertInto('recordings')
      .values({
        id,
        account_id: account.id,
        recorder_id: account.recorder,
        deposit_id: id,
        title: id,
        sha256: id,
        size_bytes: 1,
        media,
        owner_id: null,
        progress_percent: null,
        waiting_for: null,
        next_step: null,
        plan_hash: null,
      })
      .execute()
    for (const state of path)
      await tx
        .updateTable('recordings')
        .set({ state: state as never })
        .where('id', '=', id)
        .execute()
  })
  return id
}

const command = (id: string, actor: Actor, what: Command, requestId: string = randomUUID()) =>
  applyCommand(db, id, { command: what, actor, requestId })

test('the edges of the database are the edges of the domain', async () => {
  const rows = await db.asAccount(accounts[0]!.id, listEdges)
  const expected = Object.entries(recordingEdges).flatMap(([from, tos]) => tos.map((to) => `${from}>${to}`))
  expect(rows.map((row) => `${row.from_state}>${row.to_state}`).sort()).toEqual(expected.sort())
})

describe('row-level security', () => {
  test('is forced on every table with an account', async () => {
    const { rows } = await owner.query(`select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'public' and c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)
      and exists (select 1 from information_schema.columns i where i.table_name = c.relname and i.column_name = 'account_id')`)
    expect(rows).toEqual([])
  })

  test('shows nothing of another account, and lets nothing be written into it', async () => {
    const id = await makeRecording()
    const [one, two] = accounts as [(typeof accounts)[0], (typeof accounts)[0]]
    const seen = await db.asAccount(two.id, (tx) =>
      tx.selectFrom('recordings').select('id').where('id', '=', id).execute(),
    )
    expect(seen).toEqual([])
    await expect(
      db.asAccount(two.id, (tx) =>
        tx.insertInto('people').values({ account_id: one.id, name: 'x', email: 'x', roles: [] }).execute(),
      ),
    ).rejects.toThrow(/row-level security/)
    expect(await command(id, two.actors[0]!, { kind: 'claim' })).toMatchObject({ verdict: { code: 'not_found' } })
  })

  test('without an account there is nothing to see, also on a pooled connection that had one', async () => {
    for (let round = 0; round < 3; round += 1) {
      const rows = await db.throughDoor('', (tx) => tx.selectFrom('recordings').select('id').execute())
      expect(rows).toEqual([])
    }
  })

  test('the application role can bypass nothing', async () => {
    const { rows } = await owner.query(`select rolsuper, rolbypassrls from pg_roles where rolname = 'reelkeep_app'`)
    expect(rows).toEqual([{ rolsuper: false, rolbypassrls: false }])
  })
})

describe('a recording', () => {
  test('takes only allowed edges', async () => {
    const id = await makeRecording()
    await expect(
      db.asAccount(accounts[0]!.id, (tx) =>
        tx.updateTable('recordings').set({ state: 'purged' }).where('id', '=', id).execute(),
      ),
    ).rejects.toThrow(/cannot go from accepted to purged/)
  })

  test('writes an audit row at every change of state, in the same transaction', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim', 'claimed')
    const { rows } = await owner
      .query(`select set_config('app.account', $1, false)`, [accounts[0]!.id])
      .then(() => owner.query('select action from audit_events where recording_id = $1 order by seq', [id]))
    expect(rows.map((row) => row.action)).toEqual([
      'recording.accepted',
      'recording.awaiting_claim',
      'recording.claimed',
    ])
  })

  test('keeps its original', async () => {
    const id = await makeRecording()
    await expect(
      db.asAccount(accounts[0]!.id, (tx) =>
        tx.updateTable('recordings').set({ sha256: 'other' }).where('id', '=', id).execute(),
      ),
    ).rejects.toThrow(/immutable/)
  })

  test('is not purged without an approved disposition', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim', 'disposition_requested', 'approved', 'trashed')
    await expect(
      db.asAccount(accounts[0]!.id, (tx) =>
        tx.updateTable('recordings').set({ state: 'purging' }).where('id', '=', id).execute(),
      ),
    ).rejects.toThrow(/no approved disposition/)
  })
})

test.each(['recorders', 'deposits', 'stores', 'people', 'accounts', 'recordings', 'copies', 'files', 'holds'])(
  'nobody removes a row of %s, so nothing that a held recording needs can go',
  async (table) => {
    const [account] = accounts
    await makeRecording(account)
    await expect(db.asAccount(account!.id, (tx) => sql`delete from ${sql.table(table)}`.execute(tx))).rejects.toThrow(
      /permission denied/,
    )
  },
)

describe('claims and approvals', () => {
  test('of many at once exactly one wins, the others are told', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim')
    const answers = await Promise.all(
      accounts[0]!.actors.flatMap((actor) => [1, 2, 3].map(() => command(id, actor, { kind: 'claim' }))),
    )
    expect(answers.filter((answer) => answer.verdict.ok)).toHaveLength(1)
    expect(
      answers
        .filter((answer) => !answer.verdict.ok)
        .every((answer) => !answer.verdict.ok && answer.verdict.code === 'already_claimed'),
    ).toBe(true)
  })

  test('the same request twice counts once and gets the same yes', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim')
    const requestId = randomUUID()
    const answers = [
      await command(id, accounts[0]!.actors[2]!, { kind: 'claim' }, requestId),
      await command(id, accounts[0]!.actors[2]!, { kind: 'claim' }, requestId),
    ]
    expect(answers.map((answer) => answer.verdict.ok)).toEqual([true, true])
  })

  test('the database itself refuses an approval by the requester, and one for another plan', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim')
    const [ada, ben] = accounts[0]!.actors as [Actor, Actor]
    await command(id, ada, { kind: 'requestDeletion', reason: 'test' })
    const disposition = await db.asAccount(ada.accountId, (tx) =>
      tx.selectFrom('dispositions').selectAll().where('recording_id', '=', id).executeTakeFirstOrThrow(),
    )
    const approve = (who: Actor, planHash: string) =>
      db.asAccount(ada.accountId, (tx) =>
        tx
          .insertInto('approvals')
          .values({
            disposition_id: disposition.id,
            account_id: ada.accountId,
            person_id: who.personId,
            plan_hash: planHash,
          })
          .execute(),
      )
    await expect(approve(ada, disposition.plan_hash)).rejects.toThrow(/person who requested/)
    await expect(approve(ben, 'other')).rejects.toThrow(/another plan/)
  })

  test('a hold cancels a deletion that is under way, and none is possible while it stands', async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim')
    const [ada, ben] = accounts[0]!.actors as [Actor, Actor]
    const asked = await command(id, ada, { kind: 'requestDeletion', reason: 'test' })
    await command(id, ben, { kind: 'approveDeletion', planHash: asked.facts?.planHash ?? '' })
    const held = await command(id, ben, { kind: 'hold', reason: 'court' })
    expect(held.facts).toMatchObject({ state: 'awaiting_claim', disposition: null, holds: [{ reason: 'court' }] })
    expect(await command(id, ada, { kind: 'requestDeletion', reason: 'again' })).toMatchObject({
      verdict: { code: 'on_hold' },
    })
  })
})

describe('what a recording waits for', () => {
  const said = { waitingFor: 'what was said', nextStep: 'as it was', nextAtMs: 1_900_000_000_000 }
  const say = (id: string) => db.asAccount(accounts[0]!.id, (tx) => writeWaiting(tx, id, said))
  const shown = async (id: string) => {
    const view = await db.asAccount(accounts[0]!.id, (tx) => findRecording(tx, id))
    const [listed] = await db.asAccount(accounts[0]!.id, (tx) => listRecordings(tx, { limit: 1, text: id }))
    const waiting = { waitingFor: view!.waitingFor, nextStep: view!.nextStep, nextAtMs: view!.nextAtMs }
    expect(listed).toMatchObject(waiting)
    return waiting
  }
  const ben = () => accounts[0]!.actors[1]!
  const ada = () => accounts[0]!.actors[0]!
  const kept = async () => {
    const id = await makeRecording(accounts[0], 'claimed', 'encoding', 'archiving', 'protected', 'retained')
    await command(id, ben(), { kind: 'replan' })
    return id
  }
  const hold = async (id: string) =>
    (await command(id, ben(), { kind: 'hold', reason: 'court' })).facts?.holds.at(-1)?.id ?? ''
  const asked = async () => {
    const id = await makeRecording(accounts[0], 'awaiting_claim')
    const { facts } = await command(id, ben(), { kind: 'requestDeletion', reason: 'test' })
    return { id, planHash: facts?.planHash ?? '' }
  }

  test.each<[string, () => Promise<[string, Command]>]>([
    ['a hold', async () => [await kept(), { kind: 'hold', reason: 'court' }]],
    [
      'the release of the last hold',
      async () => {
        const id = await kept()
        return [id, { kind: 'release', holdId: await hold(id) }]
      },
    ],
    [
      'the release of one of two holds',
      async () => {
        const id = await kept()
        await hold(id)
        return [id, { kind: 'release', holdId: await hold(id) }]
      },
    ],
    ['an extension', async () => [await kept(), { kind: 'extend', untilMs: 4_000_000_000_000, reason: 'x' }]],
    [
      'a request to delete',
      async () => [await makeRecording(accounts[0], 'awaiting_claim'), { kind: 'requestDeletion', reason: 'x' }],
    ],
    ['a rejection', async () => [(await asked()).id, { kind: 'rejectDeletion', reason: 'x' }]],
    [
      'the last approval',
      async () => {
        const { id, planHash } = await asked()
        return [id, { kind: 'approveDeletion', planHash }]
      },
    ],
    ['a hold on a request to delete', async () => [(await asked()).id, { kind: 'hold', reason: 'court' }]],
    [
      'an undo',
      async () => {
        const { id, planHash } = await asked()
        await command(id, ada(), { kind: 'approveDeletion', planHash })
        return [id, { kind: 'undo' }]
      },
    ],
    ['a claim', async () => [await makeRecording(accounts[0], 'awaiting_claim'), { kind: 'claim' }]],
  ])('%s ends what was said, until the life says the next thing', async (_, prepare) => {
    const [id, what] = await prepare()
    await say(id)
    expect(await shown(id)).toEqual(said)
    expect((await command(id, ada(), what)).verdict).toEqual({ ok: true })
    expect(await shown(id)).toEqual(waitingAnew)
    await say(id)
    expect(await shown(id)).toEqual(said)
  })

  test.each<[string, () => Promise<[string, Command]>]>([
    [
      'a hold while it waits to be claimed',
      async () => [await makeRecording(accounts[0], 'awaiting_claim'), { kind: 'hold', reason: 'x' }],
    ],
    [
      'a hold while it is encoded',
      async () => [await makeRecording(accounts[0], 'claimed', 'encoding'), { kind: 'hold', reason: 'x' }],
    ],
    ['the same plan again', async () => [await kept(), { kind: 'replan' }]],
    ['a refused command', async () => [await kept(), { kind: 'claim' }]],
  ])('%s leaves it standing: the life goes on waiting for it', async (_, prepare) => {
    const [id, what] = await prepare()
    await say(id)
    await command(id, ada(), what)
    expect(await shown(id)).toEqual(said)
  })

  test('a hold that is released before the life woke makes it true again', async () => {
    const id = await kept()
    await say(id)
    const holdId = await hold(id)
    expect(await shown(id)).toEqual(waitingAnew)
    await command(id, ben(), { kind: 'release', holdId })
    expect(await shown(id)).toEqual(said)
  })

  test('a stage under way speaks for itself, and what was said before there was a comparison stands', async () => {
    const id = await makeRecording(accounts[0], 'claimed')
    await say(id)
    await db.asAccount(accounts[0]!.id, (tx) =>
      tx.updateTable('recordings').set({ state: 'encoding' }).where('id', '=', id).execute(),
    )
    expect(await shown(id)).toEqual(said)
    const old = await kept()
    await say(old)
    await db.asAccount(accounts[0]!.id, (tx) =>
      tx.updateTable('recordings').set({ waiting_basis: null }).where('id', '=', old).execute(),
    )
    await hold(old)
    expect(await shown(old)).toEqual(said)
  })
})

describe('the audit', () => {
  test('is never changed, not even by its owner through the application', async () => {
    await makeRecording()
    for (const statement of [`update audit_events set action = 'x'`, 'delete from audit_events']) {
      await owner.query(`select set_config('app.account', $1, false)`, [accounts[0]!.id])
      await expect(owner.query(statement)).rejects.toThrow(/never changed/)
    }
  })

  test('chains every row to the one before', async () => {
    await owner.query(`select set_config('app.account', $1, false)`, [accounts[0]!.id])
    const { rows } = await owner.query(`select count(*)::int as broken from audit_events e
      left join audit_events p on p.seq = e.seq - 1 where e.hash <> audit_hash(e) or e.prev_hash <> coalesce(p.hash, repeat('0', 64))`)
    expect(rows).toEqual([{ broken: 0 }])
  })
})

test('a clock moves only in a system that was created for it', async () => {
  const other = await freshDatabase()
  const name = new URL(other.ownerUrl).pathname.slice(1)
  const admin = new Client(other.ownerUrl)
  await admin.connect()
  await expect(admin.query('update system set fast_forward = false')).rejects.toThrow(/never changed/)
  await admin.query('alter table system disable trigger system_is_final')
  await admin.query('update system set fast_forward = false')
  await admin.query('alter table system enable trigger system_is_final')
  await admin.end()
  const real = openDatabase(other.appUrl)
  await expect(real.asAccount(randomUUID(), (tx) => allowFastForward(tx, randomUUID(), 1000))).rejects.toMatchObject({
    code: 'fast_forward_refused',
  })
  await real.close()
  expect(name).toMatch(/^test_/)
  await other.drop()
})

test('migrating again finds nothing to do and keeps what was decided', async () => {
  expect(await migrateUp(database.ownerUrl, { fastForward: false })).toEqual([])
  const { rows } = await owner.query('select fast_forward from system')
  expect(rows).toEqual([{ fast_forward: true }])
})
