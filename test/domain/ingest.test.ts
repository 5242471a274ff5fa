import { describe, expect, it } from 'vitest'
import { depositStates } from '../../src/domain/deposit.ts'
import {
  depositExtensions,
  extensionOf,
  finalPathOf,
  isTemporaryName,
  recordingOfSidecar,
  titleFromPath,
  recorderFinder,
} from '../../src/domain/inbox-names.ts'
import { decideLook, noMemory } from '../../src/domain/ingest.ts'
import { describeNextStep } from '../../src/domain/next-step.ts'
import { decideStructureFailure, stallMs } from '../../src/domain/quarantine.ts'
import type { KnownDeposit, ListedFile, LookInput, LookMemory, RecorderPlace } from '../../src/domain/ingest.ts'

const t0 = Date.UTC(2026, 0, 1)
const hall: RecorderPlace = { id: 'hall', directory: 'hall-a', isDefault: false, quietMs: 20_000 }

const listed = (path: string, change: Partial<ListedFile> = {}): ListedFile => ({
  path,
  sizeBytes: 1000,
  mtimeMs: 5,
  fileId: 'ino1',
  special: null,
  usable: true,
  ...change,
})
const deposit = (path: string, change: Partial<KnownDeposit> = {}): KnownDeposit => ({
  id: 'd1',
  recorderId: 'hall',
  path,
  sizeBytes: 1000,
  mtimeMs: 5,
  fileId: 'ino1',
  state: 'arriving',
  endSignal: null,
  reasonCode: null,
  changedAtMs: t0,
  looks: 2,
  ...change,
})
const look = (files: ListedFile[], known: KnownDeposit[] = [], change: Partial<LookInput> = {}) =>
  decideLook({ files, known, recorders: [hall], remote: false, nowMs: t0 + 20_000, memory: noMemory, ...change })
const kinds = (...args: Parameters<typeof look>) =>
  look(...args).decisions.map((decision) => {
    const signal = 'endSignal' in decision && decision.endSignal !== null ? `:${decision.endSignal}` : ''
    const code = 'verdict' in decision ? `:${decision.verdict.state}:${decision.verdict.code}` : ''
    return decision.kind + signal + code
  })

const path = 'hall-a/x.mp4'

describe('decideLook: when is a file complete?', () => {
  const cases: [string, string[], ListedFile[], KnownDeposit[], Partial<LookInput>?][] = [
    ['released after the listing began: no new file', [], [listed(path)], [deposit(path, { state: 'released' })]],
    [
      'found by another scanner after the listing began: not gone',
      [],
      [],
      [deposit(path, { changedAtMs: t0 + 20_001 })],
    ],
    ['known before the listing began, and not in it: gone', ['vanished'], [], [deposit(path)]],
    ['first sight', ['new'], [listed(path)], []],
    ['rests, third look, quiet period over', ['complete:quiet'], [listed(path)], [deposit(path)]],
    ['one millisecond too early', [], [listed(path)], [deposit(path)], { nowMs: t0 + 19_999 }],
    ['quiet period over, but only the second look', ['seen'], [listed(path)], [deposit(path, { looks: 1 })]],
    ['grew', ['changed'], [listed(path, { sizeBytes: 1001 })], [deposit(path)]],
    ['shrank', ['changed'], [listed(path, { sizeBytes: 999 })], [deposit(path)]],
    ['written in place: only its time changed', ['changed'], [listed(path, { mtimeMs: 6 })], [deposit(path)]],
    ['replaced: only its identity changed', ['changed'], [listed(path, { fileId: 'ino2' })], [deposit(path)]],
    ['our clock went back', ['changed'], [listed(path)], [deposit(path)], { nowMs: t0 - 3_600_000 }],
    ['an absurd recorder clock counts for nothing', ['new'], [listed(path, { mtimeMs: -1e12 })], []],
    [
      'empty, still within its quiet period',
      [],
      [listed(path, { sizeBytes: 0 })],
      [deposit(path, { sizeBytes: 0 })],
      { nowMs: t0 + 5000 },
    ],
    [
      'empty and resting',
      ['settle:quarantined:empty_file'],
      [listed(path, { sizeBytes: 0 })],
      [deposit(path, { sizeBytes: 0 })],
    ],
    [
      'empty, with a sidecar',
      [],
      [listed(path, { sizeBytes: 0 }), listed(`${path}.done`)],
      [deposit(path, { sizeBytes: 0 })],
      { nowMs: t0 + 5000 },
    ],
    [
      'sidecar, unchanged since the last look',
      ['complete:sidecar'],
      [listed(path), listed(`${path}.sha256`, { sizeBytes: 64 })],
      [deposit(path, { looks: 1 })],
      { nowMs: t0 + 1000 },
    ],
    [
      'sidecar .done may be empty',
      ['complete:sidecar'],
      [listed(path), listed(`${path}.done`, { sizeBytes: 0 })],
      [deposit(path)],
      { nowMs: t0 + 1000 },
    ],
    [
      'sidecar still being written',
      [],
      [listed(path), listed(`${path}.sha256`, { sizeBytes: 20 })],
      [deposit(path)],
      { nowMs: t0 + 1000 },
    ],
    [
      'sidecar beside a file that still grows',
      ['changed'],
      [listed(path, { sizeBytes: 2000 }), listed(`${path}.md5`)],
      [deposit(path)],
    ],
    ['sidecar at first sight: one look more', ['new'], [listed(path), listed(`${path}.md5`)], []],
    ['sidecar without its recording', [], [listed(`${path}.md5`)], []],
    [
      'sidecar that is a symlink',
      [],
      [listed(path), listed(`${path}.done`, { special: 'symlink' })],
      [deposit(path)],
      { nowMs: t0 + 1000 },
    ],
    [
      'complete already: whoever reads it sees changes',
      [],
      [listed(path, { sizeBytes: 9 })],
      [deposit(path, { state: 'complete' })],
    ],
    [
      'remote without an override: 180 s',
      [],
      [listed(path)],
      [deposit(path)],
      { remote: true, recorders: [{ ...hall, quietMs: null }], nowMs: t0 + 179_000 },
    ],
    [
      'remote after 180 s',
      ['complete:quiet'],
      [listed(path)],
      [deposit(path)],
      { remote: true, recorders: [{ ...hall, quietMs: null }], nowMs: t0 + 180_000 },
    ],
    [
      'local without an override: 60 s',
      [],
      [listed(path)],
      [deposit(path)],
      { recorders: [{ ...hall, quietMs: null }], nowMs: t0 + 59_000 },
    ],
    ['stalled, rests on', [], [listed(path)], [deposit(path, { state: 'stalled' })], { nowMs: t0 + stallMs - 1 }],
    [
      'stalled for the whole stall time: judged as it is',
      ['complete:quiet'],
      [listed(path)],
      [deposit(path, { state: 'stalled' })],
      { nowMs: t0 + stallMs },
    ],
    [
      'stalled, then it goes on',
      ['changed'],
      [listed(path, { sizeBytes: 2000 })],
      [deposit(path, { state: 'stalled' })],
    ],
    [
      'stalled, then its sidecar comes',
      ['complete:sidecar'],
      [listed(path), listed(`${path}.md5`)],
      [deposit(path, { state: 'stalled', endSignal: 'quiet' })],
    ],
    [
      'stalled in spite of its sidecar',
      [],
      [listed(path), listed(`${path}.md5`)],
      [deposit(path, { state: 'stalled', endSignal: 'sidecar' })],
    ],
    ['gone while it waited', ['vanished'], [], [deposit(path)]],
    ['seen by another scanner since this look began', [], [], [deposit(path, { changedAtMs: t0 + 20_001 })]],
    ['gone while it is being read', [], [], [deposit(path, { state: 'complete' })]],
    ['gone after it was accepted', [], [], [deposit(path, { state: 'accepted' })]],
  ]
  it.each(cases)('%s -> %j', (_name, expected, files, known, change = {}) => {
    expect(kinds(files, known, change)).toEqual(expected)
  })
})

describe('decideLook: what was already judged', () => {
  const cases: [string, string[], ListedFile[], KnownDeposit[]][] = [
    ...(['accepted', 'duplicate', 'quarantined'] as const).map(
      (state): [string, string[], ListedFile[], KnownDeposit[]] => [
        `the same file again, ${state}`,
        [],
        [listed(path)],
        [deposit(path, { state })],
      ],
    ),
    [
      'the name used again for other bytes',
      ['new'],
      [listed(path, { sizeBytes: 5, mtimeMs: 9 })],
      [deposit(path, { state: 'accepted' })],
    ],
    [
      'appended to after it was accepted',
      ['new'],
      [listed(path, { sizeBytes: 1500 })],
      [deposit(path, { state: 'accepted' })],
    ],
    [
      'replaced after quarantine',
      ['new'],
      [listed(path, { sizeBytes: 5 })],
      [deposit(path, { state: 'quarantined', reasonCode: 'truncated' })],
    ],
    [
      'a sleeping scanner made it arrive twice',
      ['vanished'],
      [listed(path)],
      [deposit(path, { state: 'accepted' }), deposit(path, { id: 'd2' })],
    ],
    [
      'empty in quarantine, then it grows',
      ['changed'],
      [listed(path)],
      [deposit(path, { state: 'quarantined', reasonCode: 'empty_file', sizeBytes: 0 })],
    ],
    [
      'empty in quarantine, still empty',
      [],
      [listed(path, { sizeBytes: 0 })],
      [deposit(path, { state: 'quarantined', reasonCode: 'empty_file', sizeBytes: 0 })],
    ],
    [
      'a link in quarantine becomes a file',
      ['changed'],
      [listed(path)],
      [deposit(path, { state: 'quarantined', reasonCode: 'special_file' })],
    ],
    [
      'a refused name disappears',
      ['vanished'],
      [],
      [deposit('hall-a/x.txt', { state: 'refused', reasonCode: 'type_mismatch' })],
    ],
    [
      'a log file that grows is refused once',
      [],
      [listed('hall-a/x.log', { sizeBytes: 7 })],
      [deposit('hall-a/x.log', { state: 'refused', reasonCode: 'type_mismatch' })],
    ],
  ]
  it.each(cases)('%s -> %j', (_name, expected, files, known) => {
    expect(kinds(files, known)).toEqual(expected)
  })
})

describe('decideLook: names and kinds of files', () => {
  it.each([
    ['x.mp4.part'],
    ['x.mp4.PARTIAL'],
    ['x.mp4.tmp'],
    ['x.mp4.filepart'],
    ['x.mp4.crdownload'],
    ['x.mp4~'],
    ['.x.mp4'],
    ['x.mp4.1a2b3c4d.partial'],
    ['.x.mp4.Ab12Cd'],
    ['.pureftpd-upload.5f3.15.1a2b'],
    ['.rsync-partial/x.mp4'],
    ['a/.tmp/x.mp4'],
  ])('%s is a temporary name', (name) => {
    expect(isTemporaryName(`hall-a/${name}`)).toBe(true)
    expect(kinds([listed(`hall-a/${name}`)])).toEqual([])
  })
  it.each([
    ['x.MP4'],
    ['2026/11/21/x.MoV'],
    ['a & #+%.mp4'],
    ['it\'s "quoted".mkv'],
    ['-y.mp4'],
    ['-i.mp4'],
    ['line\nfeed.mp4'],
    ['é.mp4'],
    ['e\u0301.mp4'],
    ['🎬.webm'],
    ['con.mp4'],
    ['$(id);rm -rf.mp4'],
    ['=HYPERLINK().mp4'],
    ['<script>.mp4'],
    ['zero\u200Bwidth.mp4'],
    ['byte\uF7E9.mp4'],
    ['session.tar.gz'],
    ['cours.zip'],
    ['part.mp4'],
    ['x.part.mp4'],
  ])('%j arrives', (name) => {
    expect(kinds([listed(`hall-a/${name}`)])).toEqual(['new'])
  })
  it.each(['readme.txt', 'x', 'Thumbs.db', 'x.mp4.exe', 'mp4', 'subfile,,start,0,end,0,,:passwd'])(
    '%s is refused and reported',
    (name) => {
      expect(kinds([listed(`hall-a/${name}`)])).toEqual(['report:refused:type_mismatch'])
    },
  )
  it.each(['symlink', 'fifo', 'socket', 'device', 'hard_link', 'unreadable'])('a %s is quarantined', (special) => {
    expect(kinds([listed(path, { special })])).toEqual(['report:quarantined:special_file'])
    expect(kinds([listed(path, { special })], [deposit(path)])).toEqual(['settle:quarantined:special_file'])
    expect(
      kinds([listed(path, { special })], [deposit(path, { state: 'quarantined', reasonCode: 'special_file' })]),
    ).toEqual([])
  })
  it('an unusable name is refused, kept short, and does not stop the others', () => {
    const long = `${'a'.repeat(3000)}.mp4`
    expect(kinds([listed('hall-a\\x.mp4', { usable: false }), listed(long, { usable: false }), listed(path)])).toEqual([
      'report:refused:unsafe_name',
      'report:refused:unsafe_name',
      'new',
    ])
    const known = deposit(long.slice(0, 600), { state: 'refused', reasonCode: 'unsafe_name' })
    expect(kinds([listed(long, { usable: false })], [known])).toEqual([])
  })
  it('the extension is the last one, in lower case', () => {
    expect(['a/x.MP4', 'x.TAR.GZ', 'x', '.mp4', 'a.b/c', 'x.'].map(extensionOf)).toEqual([
      'mp4',
      'tar.gz',
      '',
      '',
      '',
      '',
    ])
    expect(recordingOfSidecar('a/x.MP4.SHA256')).toBe('a/x.MP4')
    expect(recordingOfSidecar('a/notes.md5')).toBeNull()
    expect(depositExtensions.has('mp4')).toBe(true)
  })
  it('a title is the name, cleaned', () => {
    expect(titleFromPath('a/b/Physics_101 \u202Egpj.MP4')).toBe('Physics 101 gpj')
    expect(titleFromPath(`${'x'.repeat(300)}.mp4`)).toHaveLength(200)
    expect(titleFromPath('\n.mp4')).toBe('Untitled recording')
  })
})

describe('decideLook: renamed by its uploader', () => {
  const after = (temporary: ListedFile, final: ListedFile, known: KnownDeposit[] = []) => {
    const { memory } = look([temporary], known)
    return kinds([final], known, { memory })
  }
  it.each(['hall-a/x.mp4.part', 'hall-a/.x.mp4', 'hall-a/x.mp4.0badcafe.partial', 'hall-a/x.mp4.filepart'])(
    '%s -> complete at once',
    (name) => {
      expect(after(listed(name), listed(path))).toEqual(['new:rename'])
    },
  )
  it.each([
    'hall-a/.pureftpd-upload.5f.1',
    'hall-a/.x.mp4.Ab12Cd',
    'hall-a/y.mp4.part',
    'hall-b/x.mp4.part',
    'hall-a/x.mp4~',
  ])('%s says nothing', (name) => {
    expect(after(listed(name), listed(path))).toEqual(['new'])
  })
  it('another file, more bytes, empty, or no file ids: no signal at first sight', () => {
    const part = listed(`${path}.part`)
    expect(after(part, listed(path, { fileId: 'ino2' }))).toEqual(['new'])
    expect(after(part, listed(path, { sizeBytes: 2000 }))).toEqual(['new'])
    expect(after({ ...part, sizeBytes: 0 }, listed(path, { sizeBytes: 0 }))).toEqual(['new'])
    expect(after({ ...part, fileId: '' }, listed(path, { fileId: '' }))).toEqual(['new'])
  })
  it('its last bytes came with the rename: complete after three looks instead of the quiet period', () => {
    const grown = { sizeBytes: 2000, mtimeMs: 7 }
    let memory: LookMemory = look([listed(`${path}.part`)]).memory
    memory = look([listed(path, grown)], [], { memory }).memory
    const now = { nowMs: t0 + 1000, memory }
    expect(kinds([listed(path, grown)], [deposit(path, { ...grown, looks: 1 })], now)).toEqual(['seen'])
    expect(kinds([listed(path, grown)], [deposit(path, grown)], now)).toEqual(['complete:rename'])
  })
  it('finalPathOf names recordings only', () => {
    expect(finalPathOf('a/notes.txt.part')).toBeNull()
    expect(finalPathOf('a/x.mp4')).toBeNull()
  })
})

describe('whose file is it?', () => {
  const recorders: RecorderPlace[] = [
    hall,
    { id: 'hall-lab', directory: 'hall-a/lab/', isDefault: false, quietMs: null },
    { id: 'default', directory: 'nowhere', isDefault: true, quietMs: null },
  ]
  it.each([
    ['hall-a/2026/11/x.mp4', 'hall'],
    ['hall-a/lab/x.mp4', 'hall-lab'],
    ['hall-ab/x.mp4', 'default'],
    ['x.mp4', 'default'],
  ])('%s -> %s', (file, expected) => {
    expect(recorderFinder(recorders)(file)?.id).toBe(expected)
  })
  it('without a default it is an orphan until a recorder appears, and again when that one goes', () => {
    const known = deposit('lost/x.mp4', { state: 'orphan', recorderId: null })
    expect(recorderFinder([hall])('lost/x.mp4')).toBeNull()
    expect(kinds([listed('lost/x.mp4')], [known])).toEqual([])
    expect(kinds([listed('lost/x.mp4')], [known], { recorders })).toEqual(['assigned'])
    expect(kinds([listed(path)], [deposit(path)], { recorders: [] })).toEqual(['assigned'])
  })
})

describe('decideStructureFailure', () => {
  const base = { code: 'truncated', endSignal: 'quiet', checksum: 'none', restedMs: 60_000 } as const
  it.each([
    ['its end may still come', {}, 'stalled'],
    ['nothing decodes yet', { code: 'undecodable' }, 'stalled'],
    ['a part of a package may still come', { code: 'incomplete_package' }, 'stalled'],
    ['the end of a ZIP may still come', { code: 'zip_structure' }, 'stalled'],
    ['reserved space in a ZIP may still be filled', { code: 'zip_crc' }, 'stalled'],
    ['no part came for the stall time', { code: 'incomplete_package', restedMs: stallMs }, 'quarantined'],
    ['a .done says that no part will come', { code: 'incomplete_package', endSignal: 'sidecar' }, 'quarantined'],
    ['no upload mends a path', { code: 'zip_path' }, 'quarantined'],
    ['nothing came for the stall time', { restedMs: stallMs }, 'quarantined'],
    ['its uploader said that this is all', { endSignal: 'rename' }, 'quarantined'],
    ['a .done says so', { endSignal: 'sidecar' }, 'quarantined'],
    ['the hash is right: it was cut before', { endSignal: 'sidecar', checksum: 'matches' }, 'quarantined'],
    ['the hash came before the bytes', { endSignal: 'sidecar', checksum: 'differs' }, 'stalled'],
    ['not a matter of time', { code: 'type_mismatch' }, 'quarantined'],
  ] as const)('%s: %j -> %s', (_name, change, expected) => {
    expect(decideStructureFailure({ ...base, ...change })).toBe(expected)
  })
})

it('every state of a deposit says what happens next', () => {
  for (const state of depositStates) {
    expect(describeNextStep({ state, changedAtMs: t0, quietMs: 20_000, first: null })).toMatch(/^[A-Z].{20,}\.$/)
  }
})
