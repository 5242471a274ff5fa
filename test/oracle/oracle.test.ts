import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { cp, mkdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { describeViolations, judge } from './judge.ts'
import type { PromiseNumber, Told } from './judge.ts'
import { arrive, audit, claim, drop, hashOf, keep, makeSaneWorld, protect, signed } from './sane-world.ts'
import type { Names, SaneWorld } from './sane-world.ts'

let sane: SaneWorld

beforeAll(async () => {
  sane = await makeSaneWorld(inject('temporalAddress'))
})
afterAll(async () => {
  await sane?.temporal.close()
  await sane?.remove()
})

test.each([true, false])('a sane world breaks no promise (settled: %s)', async (settled) => {
  expect(describeViolations(await judge({ ...sane.subject, settled }))).toBe('Every promise holds.')
})

test('two accounts may call their stores alike', async () => {
  const world = await sane.copy()
  try {
    for (const [at, place] of world.subject.places.entries()) {
      if (place.kind !== 'directory') continue
      const name = place.name.replace('b ', 'a ')
      await world.sql('update stores set url = $2, name = $3 where id = $1', [
        world.ids[place.name as 'a inbox'],
        `local:${place.path}`,
        name,
      ])
      world.subject.places[at] = { ...place, name }
    }
    for (const [at, one] of world.subject.dropped.entries())
      world.subject.dropped[at] = { ...one, inbox: one.inbox.replace('b ', 'a ') }
    expect(describeViolations(await judge(world.subject))).toBe('Every promise holds.')
    await rm(world.object('b backup', world.ids.other, 'original.mp4'))
    expect(await judge(world.subject)).toMatchObject([{ promise: 5, recordingId: world.ids.other }])
  } finally {
    await world.remove()
  }
})

test('an original that was announced a moment ago belongs to somebody', async () => {
  const world = await sane.copy()
  try {
    await leave(world, 1)
    expect(describeViolations(await judge(world.subject))).toBe('Every promise holds.')
  } finally {
    await world.remove()
  }
})

test('an oracle that cannot see everything says so instead of finding nothing', async () => {
  const databaseUrl = new URL(sane.subject.databaseUrl)
  const owner = new URL(inject('ownerUrl'))
  databaseUrl.username = owner.username
  databaseUrl.password = owner.password
  await expect(judge({ ...sane.subject, databaseUrl: databaseUrl.href })).rejects.toThrow('row-level security')
  await expect(judge({ ...sane.subject, places: [] })).rejects.toThrow('was not told')
})

/** One way to break one promise by hand, in a copy of the sane world. */
interface Offence {
  readonly promise: PromiseNumber
  readonly what: string
  /** The recording that must be named; `null` where none can be. */
  readonly of: Names | 'new' | null
  /** Returns the id of what it made, where that is what must be named. */
  plant(world: SaneWorld): Promise<unknown>
  /** Part of what the oracle must say. */
  readonly says: string
  /** Seen while the system still runs, too. */
  readonly atOnce?: true
}

const later = new Date(Date.now() + 3 * 365 * 86_400_000)

const offences: readonly Offence[] = [
  {
    promise: 1,
    what: 'a broken file is accepted',
    of: 'waiting',
    says: 'no whole file of these bytes',
    atOnce: true,
    plant: async (world) => changeDrop(world, 'waiting.mp4', { kind: 'broken' }),
  },
  {
    promise: 1,
    what: 'a deposit is linked to what was never whole',
    of: 'new',
    says: 'was linked as known bytes',
    atOnce: true,
    plant: async (world) => {
      const id = await drop(world, 'a', 'part.mp4', { state: 'duplicate', kind: 'interrupted', content: 'a part' })
      return id
    },
  },
  {
    promise: 1,
    what: 'a whole file is never seen',
    of: null,
    says: 'was never seen',
    plant: async (world) => {
      await writeFile(join(world.home, 'a-inbox', 'hall', 'unseen.mp4'), 'unseen')
      const sha256 = hashOf(Buffer.from('unseen'))
      const seen = { sha256, sizeBytes: 6, kind: 'whole' as const, finishedAtMs: Date.now() }
      world.subject.dropped.push({ inbox: 'a inbox', path: 'hall/unseen.mp4', ...seen })
    },
  },
  {
    promise: 1,
    what: 'a whole file arrives for ever',
    of: 'new',
    says: 'nothing says why',
    plant: (world) => drop(world, 'a', 'endless.mp4', { state: 'arriving' }),
  },
  {
    promise: 1,
    what: 'bytes uploaded anew are linked to a recording that was on its way out, and go unkept',
    of: 'new',
    says: 'nothing says why',
    plant: (world) =>
      drop(world, 'a', 'purged-again.mp4', {
        state: 'duplicate',
        content: 'bytes of purged.mp4',
        recordingId: world.ids.purged,
      }),
  },
  {
    promise: 2,
    what: 'the same bytes are published twice',
    of: 'kept',
    says: 'kept as several recordings',
    atOnce: true,
    plant: async (world) => {
      await world.sql('drop index same_bytes_once')
      const id = await arrive(world, 'a', 'second.mp4', 'bytes of kept.mp4')
      const twin = { ...world, ids: { ...world.ids, kept: id } }
      await claim(twin, 'kept', 'una')
      await protect(twin, 'a', 'kept')
      await keep(twin, 'kept', 86_400_000)
      await world.temporal.begin(id)
    },
  },
  {
    promise: 2,
    what: 'one path has two live deposits',
    of: 'stalled',
    says: 'several live deposits',
    atOnce: true,
    plant: async (world) => {
      await world.sql('drop index one_live_deposit')
      await drop(world, 'a', 'stalled.mp4', {
        state: 'stalled',
        kind: 'interrupted',
        content: 'more of',
        reason: 'It stalled',
      })
    },
  },
  {
    promise: 2,
    what: 'it is accepted twice',
    of: 'kept',
    says: 'exactly once that it was accepted',
    atOnce: true,
    plant: (world) => audit(world, world.ids.kept, 'recording.accepted'),
  },
  {
    promise: 2,
    what: 'a copy is written down twice',
    of: 'kept',
    says: 'a copy is written down several times',
    atOnce: true,
    plant: async (world) => {
      await world.sql('alter table copies drop constraint copies_file_id_store_id_key')
      await world.forge(
        `insert into copies (account_id, recording_id, file_id, store_id, state, verified_at)
         select account_id, recording_id, file_id, store_id, state, verified_at from copies where recording_id = $1 limit 1`,
        [world.ids.kept],
      )
    },
  },
  {
    promise: 2,
    what: 'a deposit is linked to other bytes',
    of: 'kept',
    says: 'a recording of other bytes',
    atOnce: true,
    plant: (world) =>
      world.forge('update deposits set sha256 = $2 where id = $1', [world.ids.twin, hashOf(Buffer.from('else'))]),
  },
  {
    promise: 2,
    what: 'its life is begun a second time',
    of: 'kept',
    says: 'begun several times',
    atOnce: true,
    plant: async (world) => {
      await world.ownLives(['kept'])
      await world.temporal.begin(world.ids.kept, 'once')
      await world.temporal.complete('once')
      await world.temporal.begin(world.ids.kept)
    },
  },
  {
    promise: 3,
    what: 'a byte of a copy flips',
    of: 'kept',
    says: 'holds other bytes',
    atOnce: true,
    plant: async (world) => {
      const path = world.object('a backup', world.ids.kept, 'renditions/1/720p.mp4')
      const bytes = await readFile(path)
      bytes[3] = (bytes[3] ?? 0) ^ 1
      await writeFile(path, bytes)
    },
  },
  {
    promise: 3,
    what: 'a copy is cut short',
    of: 'kept',
    says: 'is only a part',
    atOnce: true,
    plant: (world) => truncate(world.object('a primary', world.ids.kept, 'original.mp4'), 4),
  },
  {
    promise: 3,
    what: 'a part stands under its final name before it was read back',
    of: 'waiting',
    says: 'is only a part',
    atOnce: true,
    plant: (world) => truncate(world.object('a primary', world.ids.waiting, 'original.mp4'), 4),
  },
  {
    promise: 3,
    what: 'an original stays of a deposit that became nothing',
    of: 'broken',
    says: 'belongs to nothing',
    plant: (world) => place(world.object('a primary', world.ids.broken, 'original.mp4'), 'left over'),
  },
  {
    promise: 3,
    what: 'an original stays that was announced, and that nobody came back for in all the time that has',
    of: 'broken',
    says: 'belongs to nothing',
    plant: (world) => leave(world, 5),
  },
  {
    promise: 3,
    what: 'something is published beside a package that nobody wrote down',
    of: 'kept',
    says: 'belongs to nothing',
    plant: (world) => place(world.object('a backup', world.ids.kept, 'renditions/2/720p.mp4'), 'left over'),
  },
  {
    promise: 3,
    what: 'the row of the original is forged',
    of: 'waiting',
    says: 'not written down as the bytes taken in',
    atOnce: true,
    plant: (world) =>
      world.forge('update files set sha256 = $2 where recording_id = $1', [
        world.ids.waiting,
        hashOf(Buffer.from('else')),
      ]),
  },
  {
    promise: 4,
    what: 'the source is removed with copies that were never read back',
    of: 'kept',
    says: 'without the verified copies',
    atOnce: true,
    plant: (world) =>
      world.forge(`update copies set state = 'stored', verified_at = null where recording_id = $1 and store_id = $2`, [
        world.ids.kept,
        world.ids['a backup'],
      ]),
  },
  {
    promise: 4,
    what: 'the source is removed early',
    of: 'waiting',
    says: 'without the verified copies',
    atOnce: true,
    plant: (world) => rm(join(world.home, 'a-inbox', 'hall', 'waiting.mp4')),
  },
  {
    promise: 4,
    what: 'the source is removed before its copies were verified',
    of: 'kept',
    says: 'before its copies were verified',
    atOnce: true,
    plant: (world) =>
      world.forge(`update deposits set settled_at = settled_at - interval '1 hour' where id = $1`, [world.ids.kept]),
  },
  {
    promise: 4,
    what: 'the second site is the first one under another name',
    of: 'other',
    says: 'without the verified copies',
    atOnce: true,
    plant: async ({ subject }) => {
      const at = subject.places.findIndex(({ name }) => name === 'b backup')
      subject.places[at] = { ...subject.places[at]!, site: 'one' }
    },
  },
  {
    promise: 5,
    what: 'a verified copy disappears',
    of: 'kept',
    says: 'is gone',
    atOnce: true,
    plant: (world) => rm(world.object('a backup', world.ids.kept, 'original.mp4')),
  },
  {
    promise: 5,
    what: 'a copy is purged while the recording is kept',
    of: 'kept',
    says: 'was purged',
    atOnce: true,
    plant: async (world) => {
      await rm(world.object('a backup', world.ids.kept, 'manifest.json'))
      await world.forge(
        `update copies set state = 'purged', purged_at = now() where store_id = $2
         and file_id = (select id from files where recording_id = $1 and kind = 'manifest')`,
        [world.ids.kept, world.ids['a backup']],
      )
    },
  },
  {
    promise: 5,
    what: 'a purged recording still stands in a store',
    of: 'purged',
    says: 'still stands in a backup',
    atOnce: true,
    plant: (world) => place(world.object('a backup', world.ids.purged, 'original.mp4'), 'bytes of purged.mp4'),
  },
  {
    promise: 5,
    what: 'the only copy of an unclaimed recording disappears',
    of: 'waiting',
    says: 'was stored and is gone',
    plant: (world) => rm(world.object('a primary', world.ids.waiting, 'original.mp4')),
  },
  {
    promise: 6,
    what: 'it is purged without an approval',
    of: 'purged',
    says: 'without the approvals',
    atOnce: true,
    plant: async (world) => {
      await world.forge('delete from approvals')
      forget(world, 'approveDeletion')
    },
  },
  {
    promise: 6,
    what: 'it is purged with fewer approvals than the policy asks for',
    of: 'purged',
    says: 'without the approvals',
    atOnce: true,
    plant: (world) => world.sql(`update accounts set policy = jsonb_set(policy, '{disposition,approvals}', '2')`),
  },
  {
    promise: 6,
    what: 'it is purged under a hold',
    of: 'purged',
    says: 'under a hold',
    atOnce: true,
    plant: (world) =>
      world.forge(
        `insert into holds (account_id, recording_id, reason, placed_by, placed_at)
         values ($1, $2, 'court', $3, now() - interval '1 day')`,
        [world.ids.a, world.ids.purged, world.ids.ben],
      ),
  },
  {
    promise: 6,
    what: 'a hold is confirmed and then it is purged',
    of: 'purged',
    says: 'a hold was confirmed',
    atOnce: true,
    plant: async (world) => tell(world, 'purged', 'hold', world.ids.ben),
  },
  {
    promise: 6,
    what: 'a hold is confirmed and forgotten, where the same person held it before',
    of: 'kept',
    says: 'a hold was confirmed',
    atOnce: true,
    plant: async (world) => {
      await world.sql(
        `insert into holds (account_id, recording_id, reason, placed_by, released_by, released_at)
         values ($1, $2, 'court', $3, $3, now())`,
        [world.ids.a, world.ids.kept, world.ids.ben],
      )
      for (const requestId of ['first', 'second', 'first'])
        tell(world, 'kept', 'hold', world.ids.ben, { detail: { requestId } })
    },
  },
  {
    promise: 6,
    what: 'an undo is confirmed and then it is purged',
    of: 'purged',
    says: 'called off',
    atOnce: true,
    plant: async (world) => {
      await audit(world, world.ids.purged, 'command.undo', { personId: world.ids.una })
      const [row] = await world.sql('select requested_at from dispositions where recording_id = $1', [world.ids.purged])
      const atMs = (row!['requested_at'] as Date).getTime()
      tell(world, 'purged', 'undo', world.ids.una, { beganAtMs: atMs + 1, endedAtMs: atMs + 1 })
    },
  },
  {
    promise: 6,
    what: 'it is purged before its retention ends',
    of: 'purged',
    says: 'before its retention ends',
    atOnce: true,
    plant: (world) => world.forge('update recordings set retain_until = $2 where id = $1', [world.ids.purged, later]),
  },
  {
    promise: 6,
    what: 'it is purged within the undo window',
    of: 'purged',
    says: 'within its undo window',
    atOnce: true,
    plant: (world) =>
      world.forge('update dispositions set undo_until = $2 where recording_id = $1', [world.ids.purged, later]),
  },
  {
    promise: 6,
    what: 'the plan changes after it was approved',
    of: 'asked',
    says: 'not the hash of its plan',
    atOnce: true,
    plant: (world) =>
      world.forge(`update recordings set plan = jsonb_set(plan, '{retainUntilMs}', '0') where id = $1`, [
        world.ids.asked,
      ]),
  },
  {
    promise: 6,
    what: 'one digit of a certificate changes',
    of: 'purged',
    says: 'proves nothing',
    atOnce: true,
    plant: (world) =>
      world.forge(
        `update recordings set certificate = jsonb_set(certificate, '{payload,copies,0,sizeBytes}', '99') where id = $1`,
        [world.ids.purged],
      ),
  },
  {
    promise: 6,
    what: 'a certificate is signed by another key',
    of: 'purged',
    says: 'proves nothing',
    atOnce: true,
    plant: (world) => certify(world, (payload) => payload, generateKeyPairSync('ed25519').privateKey),
  },
  {
    promise: 6,
    what: 'a certificate leaves a copy out',
    of: 'purged',
    says: 'exactly the copies that went',
    atOnce: true,
    plant: (world) => certify(world, (payload) => ({ ...payload, copies: (payload['copies'] as unknown[]).slice(1) })),
  },
  {
    promise: 6,
    what: 'a certificate is about another recording',
    of: 'purged',
    says: 'about something else',
    atOnce: true,
    plant: (world) => certify(world, (payload) => ({ ...payload, recordingId: world.ids.kept })),
  },
  {
    promise: 6,
    what: 'it is purged without a certificate',
    of: 'purged',
    says: 'without a certificate',
    atOnce: true,
    plant: (world) => world.forge('update recordings set certificate = null where id = $1', [world.ids.purged]),
  },
  {
    promise: 7,
    what: 'a second person is told that the claim is theirs',
    of: 'kept',
    says: 'confirmed that was never granted',
    atOnce: true,
    plant: async (world) => tell(world, 'kept', 'claim', world.ids.ada),
  },
  {
    promise: 7,
    what: 'a claim is forged into the trail',
    of: 'kept',
    says: 'gave it to nobody anew',
    atOnce: true,
    plant: (world) =>
      audit(world, world.ids.kept, 'command.claim', { personId: world.ids.una, requestId: randomUUID() }),
  },
  {
    promise: 7,
    what: 'it is given to somebody else than the claimer',
    of: 'kept',
    says: 'does not belong to the person',
    atOnce: true,
    plant: (world) => world.sql('update recordings set owner_id = $2 where id = $1', [world.ids.kept, world.ids.ada]),
  },
  {
    promise: 7,
    what: 'who requested a deletion approves it',
    of: 'asked',
    says: 'by the person who requested it',
    atOnce: true,
    plant: (world) => approveByForce(world, 'asked', world.ids.una),
  },
  {
    promise: 7,
    what: 'an approval counts twice',
    of: 'purged',
    says: 'counts several times',
    atOnce: true,
    plant: async (world) => {
      await world.sql('alter table approvals drop constraint approvals_pkey')
      await approveByForce(world, 'purged', world.ids.ben)
    },
  },
  {
    promise: 7,
    what: 'an approval is for another plan',
    of: 'asked',
    says: 'for another plan',
    atOnce: true,
    plant: async (world) => approveByForce(world, 'asked', world.ids.ben, hashOf(Buffer.from('another plan'))),
  },
  {
    promise: 7,
    what: 'an approval is confirmed and forgotten',
    of: 'asked',
    says: 'counts nowhere',
    atOnce: true,
    plant: async (world) => tell(world, 'asked', 'approveDeletion', world.ids.ben),
  },
  {
    promise: 8,
    what: 'it does not say what it waits for',
    of: 'waiting',
    says: 'what it waits for',
    plant: (world) => world.sql('update recordings set waiting_for = null where id = $1', [world.ids.waiting]),
  },
  {
    promise: 8,
    what: 'it does not say what comes next',
    of: 'kept',
    says: 'what happens next',
    plant: (world) => world.sql(`update recordings set next_step = ' ' where id = $1`, [world.ids.kept]),
  },
  {
    promise: 8,
    what: 'it does not say when',
    of: 'kept',
    says: 'does not say when',
    plant: (world) => world.sql('update recordings set next_at = null where id = $1', [world.ids.kept]),
  },
  {
    promise: 8,
    what: 'what was to happen an hour ago did not',
    of: 'asked',
    says: 'did not happen',
    plant: (world) =>
      world.sql(`update recordings r set next_at = recording_now(r) - interval '1 hour' where id = $1`, [
        world.ids.asked,
      ]),
  },
  {
    promise: 8,
    what: 'a problem offers nothing to do',
    of: 'parked',
    says: 'nothing a person could do',
    plant: (world) => world.sql(`update problems set options = '{}' where recording_id = $1`, [world.ids.parked]),
  },
  {
    promise: 8,
    what: 'a problem says nothing',
    of: 'broken',
    says: 'what is wrong',
    plant: (world) => world.sql(`update problems set message = '' where recording_id = $1`, [world.ids.broken]),
  },
  {
    promise: 8,
    what: 'a retry that was announced does not come',
    of: 'parked',
    says: 'not tried again',
    plant: (world) =>
      world.sql(`update problems set next_retry_at = now() - interval '1 hour' where recording_id = $1`, [
        world.ids.parked,
      ]),
  },
  {
    promise: 8,
    what: 'a deposit stalls without a reason',
    of: 'stalled',
    says: 'does not say why',
    plant: (world) => world.sql('update deposits set reason = null where id = $1', [world.ids.stalled]),
  },
  {
    promise: 8,
    what: 'a source stays for ever and nothing says why',
    of: 'kept',
    says: 'its source stays',
    plant: async (world) => {
      await writeFile(join(world.home, 'a-inbox', 'hall', 'kept.mp4'), 'bytes of kept.mp4')
      await world.sql(`update deposits set state = 'accepted' where id = $1`, [world.ids.kept])
    },
  },
  {
    promise: 9,
    what: 'its life is killed',
    of: 'kept',
    says: 'ended as terminated',
    plant: async (world) => {
      await world.ownLives()
      await world.temporal.terminate(world.ids.kept)
    },
  },
  {
    promise: 9,
    what: 'its life was never begun',
    of: 'waiting',
    says: 'its life does not run',
    plant: (world) => world.ownLives(['waiting']),
  },
  {
    promise: 9,
    what: 'its life fails again and again',
    of: 'kept',
    says: 'fails at the same place',
    plant: async (world) => {
      await world.ownLives(['kept'])
      await world.temporal.begin(world.ids.kept, 'failing')
      await world.temporal.fail('failing', 3)
    },
  },
  {
    promise: 9,
    what: 'a complete deposit is never read',
    of: 'new',
    says: 'stands still in complete',
    plant: async (world) => {
      const id = await drop(world, 'a', 'unread.mp4', { state: 'complete' })
      await world.temporal.begin(id)
      return id
    },
  },
  {
    promise: 9,
    what: 'a mail that could not be sent hides that it stands still',
    of: 'parked',
    says: 'stands still in archiving',
    plant: (world) => world.sql(`update problems set stage = 'claim' where recording_id = $1`, [world.ids.parked]),
  },
  {
    promise: 9,
    what: 'a complete deposit is forgotten',
    of: 'new',
    says: 'nobody takes it in',
    plant: (world) => drop(world, 'a', 'forgotten.mp4', { state: 'complete' }),
  },
  {
    promise: 9,
    what: 'it stands still and nobody is asked',
    of: 'parked',
    says: 'stands still in archiving',
    plant: (world) => world.sql('update problems set resolved_at = now() where recording_id = $1', [world.ids.parked]),
  },
  {
    promise: 9,
    what: 'a row of the audit trail is changed',
    of: 'kept',
    says: 'changed, cut or added to',
    atOnce: true,
    plant: (world) =>
      world.forge(
        `update audit_events set actor = 'nobody' where recording_id = $1 and action = 'recording.encoding'`,
        [world.ids.kept],
      ),
  },
  {
    promise: 9,
    what: 'the last row of the audit trail is removed',
    of: null,
    says: 'not where its head says',
    atOnce: true,
    plant: async (world) => {
      await audit(world, world.ids.kept, 'copy.mismatch')
      await world.forge(`delete from audit_events where action = 'copy.mismatch'`)
    },
  },
  {
    promise: 9,
    what: 'a hash of the audit trail is changed',
    of: 'waiting',
    says: 'changed, cut or added to',
    atOnce: true,
    plant: (world) =>
      world.forge(
        `update audit_events set hash = repeat('0', 64) where recording_id = $1 and action = 'recording.accepted'`,
        [world.ids.waiting],
      ),
  },
  {
    promise: 9,
    what: 'its state changes behind the back of the trail',
    of: 'waiting',
    says: 'a state that its audit trail does not know',
    atOnce: true,
    plant: (world) =>
      world.forge(`update recordings set state = 'disposition_requested' where id = $1`, [world.ids.waiting]),
  },
  {
    promise: 9,
    what: 'it jumps over states',
    of: 'waiting',
    says: 'it went from awaiting_claim to retained',
    atOnce: true,
    plant: async (world) => {
      for (const state of ['retained', 'disposition_requested', 'awaiting_claim'])
        await audit(world, world.ids.waiting, `recording.${state}`)
    },
  },
  {
    promise: 9,
    what: 'a command is confirmed and forgotten',
    of: 'kept',
    says: 'left no trace',
    atOnce: true,
    plant: async (world) => tell(world, 'kept', 'extend', world.ids.una),
  },
  {
    promise: 10,
    what: "a file's row belongs to another account",
    of: 'kept',
    says: 'a row of files',
    atOnce: true,
    plant: (world) =>
      world.forge(`update files set account_id = $2 where recording_id = $1 and kind = 'video'`, [
        world.ids.kept,
        world.ids.b,
      ]),
  },
  {
    promise: 10,
    what: 'somebody of another account holds it',
    of: 'kept',
    says: 'a row of holds',
    atOnce: true,
    plant: (world) =>
      world.forge('insert into holds (account_id, recording_id, reason, placed_by) values ($1, $2, $3, $4)', [
        world.ids.b,
        world.ids.kept,
        'court',
        world.ids.bob,
      ]),
  },
  {
    promise: 10,
    what: 'the trail of another account has a row about it',
    of: 'kept',
    says: 'a row of audit_events',
    atOnce: true,
    plant: (world) => audit(world, world.ids.kept, 'recording.described', {}, 'b'),
  },
  {
    promise: 10,
    what: 'the trail of another account names it',
    of: 'kept',
    says: 'speaks of it',
    atOnce: true,
    plant: (world) => audit(world, world.ids.other, 'recording.described', { sameAs: world.ids.kept }),
  },
  {
    promise: 10,
    what: 'an object of it stands below another account',
    of: 'kept',
    says: 'below another account',
    atOnce: true,
    plant: async ({ home, ids }) => {
      const below = (account: string) => join(home, 'a-primary', account, ids.kept, 'original.mp4')
      await mkdir(dirname(below(ids.b)), { recursive: true })
      await cp(below(ids.a), below(ids.b))
    },
  },
  {
    promise: 10,
    what: 'a file has a key below another account',
    of: 'kept',
    says: 'outside its own prefix',
    atOnce: true,
    plant: async (world) => {
      const key = `${world.ids.b}/stolen/720p.mp4`
      await world.forge(`update files set key = $2 where recording_id = $1 and kind = 'video'`, [world.ids.kept, key])
      for (const folder of ['primary', 'backup'] as const) {
        await mkdir(join(world.home, `a-${folder}`, world.ids.b, 'stolen'), { recursive: true })
        await rename(
          world.object(`a ${folder}`, world.ids.kept, 'renditions/1/720p.mp4'),
          join(world.home, `a-${folder}`, key),
        )
      }
    },
  },
  {
    promise: 10,
    what: 'a person of another account is told of it',
    of: 'kept',
    says: 'was told of it',
    atOnce: true,
    plant: (world) =>
      world.sql(
        `insert into notices (account_id, recording_id, kind, occasion, recipient) values ($1, $2, 'claim_wanted', 'x', 'bob@example.test')`,
        [world.ids.a, world.ids.kept],
      ),
  },
]

test('every promise is broken in at least two ways', () => {
  for (let promise = 1; promise <= 10; promise += 1)
    expect(offences.filter((offence) => offence.promise === promise).length).toBeGreaterThanOrEqual(2)
})

test.concurrent.each(offences)('promise $promise: $what', async ({ promise, of, says, atOnce, plant }) => {
  const world = await sane.copy()
  try {
    const made = await plant(world)
    const found = await judge(world.subject)
    const all = describeViolations(found)
    expect([...new Set(found.map((violation) => violation.promise))], all).toEqual([promise])
    expect(all).toContain(says)
    expect([...new Set(found.map(({ recordingId }) => recordingId))], all).toEqual([
      of === null ? null : of === 'new' ? made : world.ids[of],
    ])
    const whileItRuns = await judge({ ...world.subject, settled: false })
    expect(whileItRuns.length > 0, describeViolations(whileItRuns)).toBe(atOnce === true)
  } finally {
    await world.remove()
  }
})

async function changeDrop(
  { subject }: SaneWorld,
  name: string,
  change: Partial<SaneWorld['subject']['dropped'][number]>,
) {
  const at = subject.dropped.findIndex(({ path }) => path === `hall/${name}`)
  subject.dropped[at] = { ...subject.dropped[at]!, ...change }
}

function tell(
  { subject, ids }: SaneWorld,
  name: Names,
  kind: string,
  personId: string,
  more: Partial<Told> = {},
): void {
  const when = { beganAtMs: Date.now(), endedAtMs: Date.now() }
  subject.told.push({ recordingId: ids[name], kind, personId, accepted: true, ...when, ...more })
}

function forget({ subject }: SaneWorld, kind: string): void {
  subject.told.splice(0, subject.told.length, ...subject.told.filter((told) => told.kind !== kind))
}

/** An original in the primary store that no row names, announced so many days ago. */
async function leave(world: SaneWorld, daysAgo: number): Promise<void> {
  const path = world.object('a primary', world.ids.broken, 'original.mp4')
  await place(path, 'left over')
  await world.sql(
    `insert into announced_puts (account_id, store_id, key, deposit_id, announced_at)
     select account_id, id, account_id || '/' || $1 || '/original.mp4', $1::uuid, now() - $2::int * interval '1 day'
     from stores where name = 'a primary'`,
    [world.ids.broken, daysAgo],
  )
}

async function place(path: string, content: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, content)
}

async function certify(
  world: SaneWorld,
  change: (payload: Record<string, unknown>) => Record<string, unknown>,
  key = world.signingKey,
): Promise<void> {
  const [row] = await world.sql('select certificate from recordings where id = $1', [world.ids.purged])
  const { payload } = row!['certificate'] as { payload: Record<string, unknown> }
  await world.forge('update recordings set certificate = $2 where id = $1', [
    world.ids.purged,
    JSON.stringify(signed(key, change(payload))),
  ])
}

async function approveByForce(
  world: SaneWorld,
  name: Names,
  personId: string,
  planHash: string | null = null,
): Promise<void> {
  await world.forge(
    `insert into approvals (disposition_id, person_id, account_id, plan_hash)
     select id, $2, account_id, coalesce($3, plan_hash) from dispositions where recording_id = $1`,
    [world.ids[name], personId, planHash],
  )
}
