import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { appendFile, link, mkdir, readdir, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { MockActivityEnvironment } from '@temporalio/testing'
import { sql } from 'kysely'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lookOnce } from '../../src/activities/look.ts'
import { createIngestActivities } from '../../src/activities/ingest.ts'
import type { PlacedStore } from '../../src/activities/deps.ts'
import { ensureAccount, ensureRecorder, ensureStore } from '../../src/db/accounts.ts'
import { recordCopy, recordStored } from '../../src/db/files.ts'
import { findDeposit } from '../../src/db/deposits.ts'
import { noMemory } from '../../src/domain/ingest.ts'
import type { LookMemory } from '../../src/domain/ingest.ts'
import { defaultPolicy } from '../../src/domain/policy.ts'
import { openLocalStore } from '../../src/storage/local.ts'
import { castFiles, sessionFiles, tarGzOf, zipOf } from '../media/archives.ts'
import { makeLecture, openIngestStand, sha256 } from './ingest-fixture.ts'
import type { IngestStand } from './ingest-fixture.ts'

let lecture: Buffer
let stand: IngestStand

beforeAll(async () => {
  lecture = await makeLecture()
})
beforeEach(async () => {
  stand = await openIngestStand()
})
afterEach(() => stand.close())

async function drop(path: string, bytes: Buffer | string = lecture): Promise<string> {
  const target = join(stand.directories.inbox, path)
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, bytes)
  return target
}

async function completeOne(path: string, bytes: Buffer | string = lecture): Promise<string> {
  await drop(path, bytes)
  const [id] = await stand.lookUntilQuiet()
  if (id === undefined) throw new Error(`${path} did not become complete`)
  return id
}

async function only() {
  const deposits = await stand.deposits()
  expect(deposits).toHaveLength(1)
  return deposits[0]!
}

const there = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  )
const objectsIn = async (directory: string) =>
  (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)

/** Everything of a recording, verified in both sites, sealed with a manifest. */
async function protect(recordingId: string) {
  await stand.db.asAccount(stand.accountId, async (tx) => {
    const manifest = {
      name: 'manifest.json',
      kind: 'manifest' as const,
      key: 'k',
      contentType: 'application/json',
      sizeBytes: 2,
      sha256: 'x',
    }
    await recordStored(tx, recordingId, stand.ids.primary, manifest)
    for (const file of await tx.selectFrom('files').select('id').where('recording_id', '=', recordingId).execute()) {
      await recordCopy(tx, recordingId, file.id, stand.ids.backup)
    }
    await tx
      .updateTable('copies')
      .set({ state: 'verified', verified_at: new Date() })
      .where('recording_id', '=', recordingId)
      .execute()
  })
}

describe('a look', () => {
  it('makes a resting file complete once, begins its life, and then changes nothing', async () => {
    await drop('hall-a/2026/11/Vorlesung 1.MP4')
    expect(await stand.look()).toEqual([])
    expect(await only()).toMatchObject({
      state: 'arriving',
      recorderName: 'Hall A',
      path: 'hall-a/2026/11/Vorlesung 1.MP4',
    })
    expect(await stand.look(30)).toEqual([])
    const completed = await stand.look(30)
    expect(completed).toHaveLength(1)
    expect(stand.started).toEqual(completed)
    expect(await stand.look(60)).toEqual([])
    expect(await only()).toMatchObject({ id: completed[0], state: 'complete', endSignal: 'quiet' })
  })

  it('accepts a rename by the uploader at once, and a sidecar at the next look', async () => {
    const part = await drop('hall-a/x.mp4.part')
    await stand.look()
    await rename(part, join(stand.directories.inbox, 'hall-a/x.mp4'))
    expect(await stand.look()).toHaveLength(1)
    await drop('hall-a/y.mp4')
    await drop('hall-a/y.mp4.sha256', sha256(lecture))
    await stand.look()
    expect(await stand.look()).toHaveLength(1)
    expect((await stand.deposits()).map(({ endSignal }) => endSignal ?? '').sort((a, b) => a.localeCompare(b))).toEqual(
      ['rename', 'sidecar'],
    )
  })

  it('reports what it will not touch, and one bad path does not stop the others', async () => {
    const lecturePath = await drop('hall-a/good.mp4')
    await symlink('/etc/passwd', join(stand.directories.inbox, 'hall-a/link.mp4'))
    await drop('hall-a/two.mp4', 'other')
    await link(join(stand.directories.inbox, 'hall-a/two.mp4'), join(stand.directories.inbox, 'hall-a/one.mp4'))
    execFileSync('mkfifo', [join(stand.directories.inbox, 'hall-a/fifo.mp4')])
    await drop('hall-a/back\\slash.mp4')
    await drop('hall-a/notes.txt')
    await drop('unknown/x.mp4')
    await drop('hall-a/.hidden.mp4')
    await drop('hall-a/q\'" &#%+\n\u{1F3AC}.mp4')
    for (let looks = 0; looks < 3; looks += 1) await stand.look(30)
    const states = Object.fromEntries(
      (await stand.deposits()).map((deposit) => [deposit.path, [deposit.state, deposit.reasonCode]]),
    )
    expect(states).toEqual({
      'hall-a/good.mp4': ['complete', null],
      'hall-a/link.mp4': ['quarantined', 'special_file'],
      'hall-a/one.mp4': ['quarantined', 'special_file'],
      'hall-a/two.mp4': ['quarantined', 'special_file'],
      'hall-a/fifo.mp4': ['quarantined', 'special_file'],
      'hall-a/back\\slash.mp4': ['refused', 'unsafe_name'],
      'hall-a/notes.txt': ['refused', 'type_mismatch'],
      'unknown/x.mp4': ['orphan', null],
      'hall-a/q\'" &#%+\n\u{1F3AC}.mp4': ['complete', null],
    })
    expect(await there(lecturePath)).toBe(true)
    // A recorder for the orphan, a plain file for the link: both go on by themselves.
    await rm(join(stand.directories.inbox, 'hall-a/link.mp4'))
    await drop('hall-a/link.mp4')
    await stand.db.asAccount(stand.accountId, (tx) =>
      ensureRecorder(tx, {
        inboxId: stand.ids.inbox,
        name: 'Lost',
        directory: 'unknown',
        assignment: 'claim',
        quietMs: 1000,
      }),
    )
    for (let looks = 0; looks < 4; looks += 1) await stand.look(30)
    const later = new Map((await stand.deposits()).map((deposit) => [deposit.path, deposit.state]))
    expect([later.get('unknown/x.mp4'), later.get('hall-a/link.mp4')]).toEqual(['complete', 'complete'])
  })

  it('quarantines an empty file after its quiet period and takes it up when it grows', async () => {
    const target = await drop('hall-a/x.mp4', '')
    expect(await stand.lookUntilQuiet()).toEqual([])
    expect(await only()).toMatchObject({ state: 'quarantined', reasonCode: 'empty_file' })
    await writeFile(target, lecture)
    expect(await stand.lookUntilQuiet()).toHaveLength(1)
    await only()
  })

  it('tells of a file that goes while it waits, and sees one of the same name as new', async () => {
    const target = await drop('hall-a/x.mp4')
    await stand.look()
    await rm(target)
    await stand.look()
    expect(await only()).toMatchObject({ state: 'vanished', reasonCode: 'vanished' })
    await drop('hall-a/x.mp4')
    expect(await stand.lookUntilQuiet()).toHaveLength(1)
  })

  it('names that look alike are different files, and each keeps its own bytes', async () => {
    const nfc = 'hall-a/Gr\u00f6\u00dfe.mp4'
    const nfd = 'hall-a/Gro\u0308\u00dfe.mp4'
    const names = [nfc, nfd, 'hall-a/Talk.mp4', 'hall-a/talk.MP4', 'hall-a/zero\u200Bwidth.mp4', 'hall-a/zerowidth.mp4']
    for (const [index, name] of names.entries()) await drop(name, `content ${index}`)
    // A directory may be called like a recording, and a recording may lie in it.
    await drop('hall-a/day.mp4/day.mp4', 'content of the one inside')
    expect(await stand.lookUntilQuiet()).toHaveLength(7)
    const found = (await stand.deposits()).map(({ path, state }) => `${path} ${state}`).sort()
    expect(found).toEqual([...names, 'hall-a/day.mp4/day.mp4'].map((name) => `${name} complete`).sort())
  })

  it('a name in Latin-1 is said, judged, and its bytes are found again', async () => {
    const path = Buffer.concat([
      Buffer.from(`${stand.directories.inbox}/hall-a/`),
      Buffer.from('Gr\u00f6\u00dfe.mp4', 'latin1'),
    ])
    await writeFile(path, lecture)
    const [id = ''] = await stand.lookUntilQuiet()
    expect((await only()).path).toBe('hall-a/Gr\uF7F6\uF7DFe.mp4')
    expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
    expect((await stand.recordings())[0]?.title).toBe('Gr\uFFFD\uFFFDe')
  })

  it('a listing that leaves out a file that is there deletes nothing, and costs no recording', async () => {
    const id = await completeOne('hall-a/kept.mp4')
    expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
    const waiting = await drop('hall-a/waiting.mp4', 'waits')
    await stand.look()
    const list = stand.inboxStore.list.bind(stand.inboxStore)
    stand.inboxStore.list = async function* () {}
    expect(await stand.look()).toEqual([])
    stand.inboxStore.list = list
    expect(await there(waiting)).toBe(true)
    expect(await there(join(stand.directories.inbox, 'hall-a/kept.mp4'))).toBe(true)
    expect(await stand.lookUntilQuiet()).toHaveLength(1)
    const states = (await stand.deposits()).map(({ path, state }) => `${path} ${state}`).sort()
    expect(states).toEqual(['hall-a/kept.mp4 accepted', 'hall-a/waiting.mp4 complete', 'hall-a/waiting.mp4 vanished'])
  })

  it('two scanners at once make one deposit, and one life each', async () => {
    for (let n = 0; n < 20; n += 1) await drop(`hall-a/${n}.mp4`, `content ${n}`)
    const request = () => ({
      accountId: stand.accountId,
      inboxId: stand.ids.inbox,
      memory: noMemory,
      now: () => stand.clock.nowMs,
    })
    for (const seconds of [0, 1, 1, 20, 1]) {
      stand.clock.nowMs += seconds * 1000
      await Promise.all([
        lookOnce(stand.deps, request()),
        lookOnce(stand.deps, request()),
        lookOnce(stand.deps, request()),
      ])
    }
    const deposits = await stand.deposits()
    expect(deposits).toHaveLength(20)
    expect(new Set(deposits.map(({ state }) => state))).toEqual(new Set(['complete']))
    expect(new Set(stand.started).size).toBe(20)
  })

  it('an inbox that is away decides nothing', async () => {
    await drop('hall-a/x.mp4')
    await stand.look()
    await rename(stand.directories.inbox, `${stand.directories.inbox}-away`)
    await expect(stand.look()).rejects.toMatchObject({ code: 'store_misconfigured' })
    expect(await only()).toMatchObject({ state: 'arriving' })
    await rename(`${stand.directories.inbox}-away`, stand.directories.inbox)
    expect(await stand.lookUntilQuiet()).toHaveLength(1)
  })

  it('writes nothing for files that only go on resting', async () => {
    for (let n = 0; n < 200; n += 1) await drop(`hall-a/${n % 5}/${n}.mp4`, 'x')
    const rowVersions = () =>
      stand.db.asAccount(stand.accountId, async (tx) => {
        const row = sql<string>`max(xmin::text::bigint)::text || ' ' || count(*)`.as('newest')
        return (await tx.selectFrom('deposits').select(row).executeTakeFirstOrThrow()).newest
      })
    await stand.look()
    const first = await rowVersions()
    await stand.look()
    const second = await rowVersions()
    expect(second).not.toBe(first)
    for (let looks = 0; looks < 5; looks += 1) await stand.look()
    expect(await rowVersions()).toBe(second)
  })

  it('watchInbox begins again what was complete and never begun, and looks until its turn is over', async () => {
    const id = await completeOne('hall-a/x.mp4')
    stand.started.length = 0
    const run = new MockActivityEnvironment().run(stand.activities.watchInbox, {
      accountId: stand.accountId,
      inboxId: stand.ids.inbox,
      lookForMs: 1500,
    })
    expect(await run).toEqual({ looks: 2, completed: 0 })
    expect(stand.started).toEqual([id])
  })
})

describe('takeIn', () => {
  it('makes a deposit a recording with its original in the primary store; twice is once', async () => {
    const id = await completeOne('hall-a/Physics_101.MP4')
    expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
    expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
    const [recording, ...others] = await stand.recordings()
    expect(others).toEqual([])
    expect(recording).toMatchObject({
      id,
      state: 'accepted',
      title: 'Physics 101',
      sha256: sha256(lecture),
      size_bytes: String(lecture.length),
    })
    expect(await only()).toMatchObject({ id, state: 'accepted', recordingId: id })
    expect(await stand.primaryStore.stat(`${stand.accountId}/${id}/original.mp4`)).toMatchObject({
      sizeBytes: lecture.length,
    })
    const counts = await stand.db.asAccount(stand.accountId, async (tx) => [
      (await tx.selectFrom('files').selectAll().execute()).length,
      (await tx.selectFrom('copies').selectAll().where('state', '=', 'stored').execute()).length,
      (await tx.selectFrom('audit_events').selectAll().where('action', '=', 'recording.accepted').execute()).length,
    ])
    expect(counts).toEqual([1, 1, 1])
    expect(await readdir(stand.scratchDir)).toEqual([])
    expect(await stand.look(100)).toEqual([])
  })

  it('run by two workers at once makes one recording', async () => {
    const id = await completeOne('hall-a/x.mp4')
    expect(await Promise.all([stand.takeIn(id), stand.takeIn(id)])).toEqual([
      { kind: 'accepted' },
      { kind: 'accepted' },
    ])
    expect(await stand.recordings()).toHaveLength(1)
  })

  it('links the same bytes to the first recording, also when both come at once', async () => {
    await drop('hall-a/a.mp4')
    await drop('hall-a/b.mp4')
    const ids = await stand.lookUntilQuiet()
    const results = await Promise.all(ids.map((id) => stand.takeIn(id)))
    expect(results.map(({ kind }) => kind).sort()).toEqual(['accepted', 'duplicate'])
    expect(await stand.recordings()).toHaveLength(1)
    expect(await objectsIn(stand.directories.primary)).toEqual(['original.mp4'])
    const [first] = await stand.recordings()
    expect((await stand.deposits()).map(({ recordingId }) => recordingId)).toEqual([first!.id, first!.id])
  })

  it('the same bytes in two accounts are two recordings that know nothing of each other', async () => {
    const mine = await completeOne('hall-a/x.mp4')
    const accountId = await ensureAccount(stand.db, { name: 'Neighbour', policy: defaultPolicy })
    const root = join(stand.home, 'neighbour')
    const stores: Record<string, PlacedStore> = {}
    await stand.db.asAccount(accountId, async (tx) => {
      for (const role of ['inbox', 'primary', 'backup'] as const) {
        await mkdir(join(root, role, 'hall-a'), { recursive: true })
        const url = `local:${join(root, role)}`
        const id = await ensureStore(tx, { name: role, site: role, role, url })
        stores[role] = { id, name: role, site: role, store: openLocalStore({ root: join(root, role) }) }
      }
      await ensureRecorder(tx, { inboxId: stores['inbox']!.id, name: 'x', directory: 'hall-a', assignment: 'claim' })
    })
    await writeFile(join(root, 'inbox', 'hall-a', 'x.mp4'), lecture)
    await writeFile(join(root, 'inbox', 'hall-a', 'x.mp4.done'), '')
    const book = {
      open: async () => stores['inbox']!,
      primary: async () => stores['primary']!,
      backups: async () => [],
    }
    const deps = { ...stand.deps, stores: { ...stand.deps.stores, ...book } }
    const look = (memory: LookMemory) =>
      lookOnce(deps, { accountId, inboxId: stores['inbox']!.id, memory, now: () => stand.clock.nowMs })
    const first = await look(noMemory)
    const [theirs = ''] = (await look(first.memory)).completed
    expect(await stand.takeIn(mine)).toEqual({ kind: 'accepted' })
    const takeIn = createIngestActivities(deps).takeIn
    const taken = new MockActivityEnvironment({ heartbeatTimeoutMs: 30_000 }).run(takeIn, {
      accountId,
      recordingId: theirs,
    })
    expect(await taken).toEqual({ kind: 'accepted' })
    const seen = await stand.db.asAccount(accountId, (tx) =>
      tx.selectFrom('recordings').select(['id', 'sha256']).execute(),
    )
    expect(seen).toEqual([{ id: theirs, sha256: sha256(lecture) }])
    expect((await stand.recordings()).map(({ id }) => id)).toEqual([mine])
  })

  const html = '<!doctype html><html><body>not found</body></html>'
  it.each([
    [
      'cut in half, with a .done',
      'x.mp4',
      () => lecture.subarray(0, lecture.length / 2),
      '.done',
      () => '',
      'truncated',
    ],
    [
      'one bit flipped, with a .sha256',
      'x.mp4',
      () => flipped(),
      '.sha256',
      () => `${sha256(lecture)}  x.mp4\n`,
      'checksum_mismatch',
    ],
    ['one bit flipped, with a .md5', 'x.mp4', () => flipped(), '.md5', () => md5(lecture), 'checksum_mismatch'],
    ['a .sha256 without a hash in it', 'x.mp4', () => lecture, '.sha256', () => 'z'.repeat(80), 'checksum_mismatch'],
    ['a web page called .mp4', 'x.mp4', () => Buffer.from(html), '.done', () => '', 'type_mismatch'],
    [
      'an ELF program called .mkv',
      'x.mkv',
      () => Buffer.from('\x7fELF\x02\x01\x01', 'latin1'),
      '.done',
      () => '',
      'type_mismatch',
    ],
    ['a whole AudioVideoCast', 'x.zip', () => zipOf(castFiles()), '.done', () => '', 'unsupported_package'],
    ['a whole session', 'x.tar.gz', () => tarGzOf(...sessionFiles()), '.done', () => '', 'unsupported_package'],
    [
      'a JPEG called .mp4',
      'x.mp4',
      () => Buffer.from('ffd8ffe000104a46494600', 'hex'),
      '.done',
      () => '',
      'type_mismatch',
    ],
    ['a PDF called .mov', 'x.mov', () => Buffer.from('%PDF-1.7\n'), '.done', () => '', 'type_mismatch'],
    [
      'a playlist called .mp4',
      'x.mp4',
      () => Buffer.from('#EXTM3U\nhttp://127.0.0.1/x.ts\n'),
      '.done',
      () => '',
      'type_mismatch',
    ],
    [
      'a file whose last 1 % is missing, with a .done',
      'x.mp4',
      () => lecture.subarray(0, Math.floor(lecture.length * 0.99)),
      '.done',
      () => '',
      'truncated',
    ],
    ['a hash of other bytes in .md5', 'x.mp4', () => lecture, '.md5', () => md5(Buffer.from('x')), 'checksum_mismatch'],
    [
      'an archive that leads out',
      'x.tgz',
      () => tarGzOf({ name: '../evil', data: 'x' }),
      '.done',
      () => '',
      'archive_unsafe',
    ],
    [
      'a ZIP that leads out',
      'x.zip',
      () => zipOf([...castFiles(), { name: '../evil', data: 'x' }]),
      '.done',
      () => '',
      'zip_path',
    ],
    [
      'an AudioVideoCast without a slide',
      'x.zip',
      () => zipOf(castFiles().slice(0, -1)),
      '.done',
      () => '',
      'incomplete_package',
    ],
    ['a ZIP cut in half', 'x.zip', () => zipOf(castFiles()).subarray(0, 400), '.done', () => '', 'zip_structure'],
    ['a tar.gz cut', 'x.tgz', () => tarGzOf(...sessionFiles()).subarray(0, -50), '.done', () => '', 'truncated'],
    [
      'a whole package with another .sha256',
      'x.zip',
      () => zipOf(castFiles()),
      '.sha256',
      () => `${'0'.repeat(64)}\n`,
      'checksum_mismatch',
    ],
    [
      'a RAR called .zip',
      'x.zip',
      () => Buffer.from('Rar!\x1a\x07\x01\0', 'latin1'),
      '.done',
      () => '',
      'type_mismatch',
    ],
  ])('quarantines %s and keeps its source', async (_name, name, bytes, suffix, sidecar, code) => {
    const target = await drop(`hall-a/${name}`, bytes())
    await drop(`hall-a/${name}${suffix}`, sidecar())
    await stand.look()
    const [id = ''] = await stand.look()
    expect(await stand.takeIn(id)).toMatchObject({ kind: 'quarantined', code })
    expect(await only()).toMatchObject({ id, state: 'quarantined', reasonCode: code })
    expect(await there(target)).toBe(true)
    expect(await objectsIn(stand.directories.primary)).toEqual([])
    expect(await stand.recordings()).toEqual([])
    expect(await stand.look(100)).toEqual([])
    // Asked again it judges again; a mended file under the same name is a deposit of its own.
    expect(await stand.takeIn(id)).toMatchObject({ kind: 'quarantined', code })
    await rm(join(stand.directories.inbox, `hall-a/${name}${suffix}`))
    if (!name.endsWith('.mp4')) return
    await writeFile(target, lecture)
    const [mended = ''] = await stand.lookUntilQuiet()
    expect(mended).not.toBe(id)
    expect(await stand.takeIn(mended)).toEqual({ kind: 'accepted' })
    expect(await stand.takeIn(id)).toMatchObject({ kind: 'quarantined', code: 'changed_while_read' })
  })

  const flipped = () => {
    const bytes = Buffer.from(lecture)
    bytes[bytes.length - 100]! ^= 1
    return bytes
  }
  const md5 = (bytes: Buffer) => createHash('md5').update(bytes).digest('hex')

  it('a cut file without an end signal stalls, resumes, and becomes one recording', async () => {
    const target = await drop('hall-a/x.mp4', lecture.subarray(0, lecture.length / 2))
    const [first = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(first)).toEqual({ kind: 'changed' })
    expect(await only()).toMatchObject({ state: 'stalled', reasonCode: 'truncated' })
    expect(await stand.takeIn(first)).toEqual({ kind: 'changed' })
    expect(await stand.look(60)).toEqual([])
    await appendFile(target, lecture.subarray(lecture.length / 2))
    const [second = ''] = await stand.lookUntilQuiet()
    expect(second).not.toBe(first)
    expect(await stand.takeIn(second)).toEqual({ kind: 'accepted' })
    expect(await stand.recordings()).toHaveLength(1)
    await only()
  })

  it('a cut file that nobody goes on with is quarantined after the stall time', async () => {
    await drop('hall-a/x.mp4', lecture.subarray(0, lecture.length / 2))
    const [first = ''] = await stand.lookUntilQuiet()
    await stand.takeIn(first)
    const [second = ''] = await stand.look(600)
    expect(await stand.takeIn(second)).toMatchObject({ kind: 'quarantined', code: 'truncated' })
    expect(await stand.look(600)).toEqual([])
  })

  it('a package that lacks a part stalls, and is taken up again when the whole one comes', async () => {
    const target = await drop('hall-a/8812.zip', zipOf(sessionFiles().slice(0, -1)))
    const [first = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(first)).toEqual({ kind: 'changed' })
    expect(await only()).toMatchObject({
      state: 'stalled',
      reasonCode: 'incomplete_package',
      reason: expect.stringContaining('Missing: user audio.'),
    })
    await writeFile(target, zipOf(sessionFiles()))
    const [second = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(second)).toMatchObject({
      kind: 'quarantined',
      code: 'unsupported_package',
      message: expect.stringContaining('a session package and it is whole (5 files)'),
    })
    expect(await only()).toMatchObject({ id: second, state: 'quarantined' })
    expect(await there(target)).toBe(true)
    expect(await readdir(stand.scratchDir)).toEqual([])
  })

  it.each([
    ['a session without its info', '8812.tar.gz', () => tarGzOf(...sessionFiles().slice(1)), 'incomplete_package'],
    ['a cut ZIP', '8812.zip', () => zipOf(sessionFiles()).subarray(0, -100), 'zip_structure'],
    ['a cut tar.gz', '8812.tgz', () => tarGzOf(...sessionFiles()).subarray(0, -50), 'truncated'],
  ])('%s that nobody goes on with is quarantined after the stall time', async (_name, name, bytes, code) => {
    const target = await drop(`hall-a/${name}`, bytes())
    const [first = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(first)).toEqual({ kind: 'changed' })
    expect(await only()).toMatchObject({ state: 'stalled', reasonCode: code })
    const [second = ''] = await stand.look(600)
    expect(await stand.takeIn(second)).toMatchObject({ kind: 'quarantined', code })
    expect(await only()).toMatchObject({ state: 'quarantined', reasonCode: code })
    expect(await stand.look(600)).toEqual([])
    expect(await there(target)).toBe(true)
    expect(await stand.recordings()).toEqual([])
    expect(await objectsIn(stand.directories.primary)).toEqual([])
    expect(await readdir(stand.scratchDir)).toEqual([])
  })

  it('reading a package that is told to stop is no verdict', async () => {
    const id = await completeOne('hall-a/x.zip', zipOf(castFiles()))
    const readPackage = stand.deps.encoder.readPackage
    stand.deps.encoder.readPackage = (path, extension) => readPackage(path, extension, { signal: AbortSignal.abort() })
    await expect(stand.takeIn(id)).rejects.toMatchObject({ code: 'cancelled' })
    expect(await only()).toMatchObject({ id, state: 'complete' })
    stand.deps.encoder.readPackage = readPackage
    expect(await stand.takeIn(id)).toMatchObject({ kind: 'quarantined', code: 'unsupported_package' })
  })

  it('lets go of a revision that is written to again, before or while it is read', async () => {
    const target = await drop('hall-a/x.mp4')
    const [first = ''] = await stand.lookUntilQuiet()
    await appendFile(target, 'more')
    expect(await stand.takeIn(first)).toEqual({ kind: 'changed' })
    expect(await only()).toMatchObject({ state: 'arriving', reasonCode: 'changed_while_read' })
    await writeFile(target, lecture)
    const [second = ''] = await stand.lookUntilQuiet()
    const decodeAll = stand.deps.encoder.decodeAll
    stand.deps.encoder.decodeAll = async (...args) => {
      await truncate(target, lecture.length - 1)
      return decodeAll(...args)
    }
    expect(await stand.takeIn(second)).toEqual({ kind: 'changed' })
    expect(await stand.recordings()).toEqual([])
    expect(await objectsIn(stand.directories.primary)).toEqual([])
    stand.deps.encoder.decodeAll = decodeAll
    await writeFile(target, lecture)
    const [third = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(third)).toEqual({ kind: 'accepted' })
    await only()
  })

  it('tells when the file is gone', async () => {
    const id = await completeOne('hall-a/x.mp4')
    await rm(join(stand.directories.inbox, 'hall-a/x.mp4'))
    expect(await stand.takeIn(id)).toEqual({ kind: 'vanished' })
    expect(await stand.takeIn(id)).toEqual({ kind: 'vanished' })
    expect(await only()).toMatchObject({ state: 'vanished' })
  })

  it('a store that is away is no verdict: the deposit stays complete and is tried again', async () => {
    const id = await completeOne('hall-a/x.mp4')
    await rename(stand.directories.primary, `${stand.directories.primary}-away`)
    await expect(stand.takeIn(id)).rejects.toMatchObject({ code: 'store_misconfigured' })
    expect(await only()).toMatchObject({ state: 'complete' })
    expect(await readdir(stand.scratchDir)).toEqual([])
    await rename(`${stand.directories.primary}-away`, stand.directories.primary)
    expect(await stand.takeIn(id)).toEqual({ kind: 'accepted' })
  })

  it('knows nothing of another account', async () => {
    const id = await completeOne('hall-a/x.mp4')
    const other = randomUUID()
    const run = new MockActivityEnvironment().run(stand.activities.takeIn, { accountId: other, recordingId: id })
    expect(await run).toEqual({ kind: 'changed' })
    expect(await stand.db.asAccount(other, (tx) => findDeposit(tx, id))).toBeNull()
    expect(await only()).toMatchObject({ state: 'complete' })
  })
})

describe('releaseSource', () => {
  it('removes source and sidecars only when every copy is verified in two sites; twice is once', async () => {
    const target = await drop('hall-a/x.mp4')
    await drop('hall-a/x.mp4.sha256', sha256(lecture))
    const [id = ''] = await stand.lookUntilQuiet()
    await stand.takeIn(id)
    expect(await stand.releaseSource(id)).toEqual({ released: 0 })
    await protect(id)
    await stand.db.asAccount(stand.accountId, (tx) =>
      tx
        .updateTable('copies')
        .set({ state: 'stored', verified_at: null })
        .where('store_id', '=', stand.ids.backup)
        .execute(),
    )
    expect(await stand.releaseSource(id)).toEqual({ released: 0 })
    expect(await there(target)).toBe(true)
    await protect(id)
    expect(await stand.releaseSource(id)).toEqual({ released: 1 })
    expect(await readdir(join(stand.directories.inbox, 'hall-a'))).toEqual([])
    expect(await only()).toMatchObject({ state: 'released' })
    expect(await stand.releaseSource(id)).toEqual({ released: 0 })
  })

  it('leaves a file that is another one by now, which becomes a recording of its own', async () => {
    const id = await completeOne('hall-a/x.mp4')
    await stand.takeIn(id)
    await protect(id)
    const target = join(stand.directories.inbox, 'hall-a/x.mp4')
    await writeFile(target, await makeLecture(880))
    expect(await stand.releaseSource(id)).toEqual({ released: 0 })
    expect(await there(target)).toBe(true)
    const [next = ''] = await stand.lookUntilQuiet()
    expect(await stand.takeIn(next)).toEqual({ kind: 'accepted' })
    expect(await stand.recordings()).toHaveLength(2)
  })

  it('a later upload of the same bytes leaves with the first, also under its old identity', async () => {
    const id = await completeOne('hall-a/x.mp4')
    await stand.takeIn(id)
    await protect(id)
    await stand.releaseSource(id)
    const again = await completeOne('hall-a/x.mp4')
    expect(await stand.takeIn(again)).toEqual({ kind: 'duplicate', ofRecordingId: id })
    expect(await there(join(stand.directories.inbox, 'hall-a/x.mp4'))).toBe(false)
    expect(await stand.takeIn(again)).toEqual({ kind: 'duplicate', ofRecordingId: id })
  })
})
