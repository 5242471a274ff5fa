import { readRows } from './database.ts'
import type {
  AuditRow,
  CopyRow,
  DepositRow,
  DispositionRow,
  FileRow,
  HoldRow,
  PersonRow,
  ProblemRow,
  RecordingRow,
  Rows,
  StoreRow,
} from './database.ts'
import { lookAtPlace } from './places.ts'
import type { HashMemory, PlaceLook } from './places.ts'
import type { Subject } from './subject.ts'
import { readWorkflows } from './temporal.ts'
import type { Workflows } from './temporal.ts'
import { recordingStates } from './words.ts'

/** One look at a whole system: the rows of one instant, then what the places held after it, then Temporal. */
export interface Snapshot {
  readonly subject: Subject
  readonly graceMs: number
  readonly rows: Rows
  readonly places: readonly PlaceLook[]
  readonly workflows: Workflows | null
  readonly find: Index
}

/** The same rows by what they are looked up by. */
export interface Index {
  readonly recording: ReadonlyMap<string, RecordingRow>
  readonly deposit: ReadonlyMap<string, DepositRow>
  readonly store: ReadonlyMap<string, StoreRow>
  readonly person: ReadonlyMap<string, PersonRow>
  readonly file: ReadonlyMap<string, FileRow>
  readonly filesOf: Grouped<FileRow>
  readonly copiesOf: Grouped<CopyRow>
  readonly copiesOfFile: Grouped<CopyRow>
  readonly holdsOf: Grouped<HoldRow>
  readonly dispositionsOf: Grouped<DispositionRow>
  readonly openProblemsOf: Grouped<ProblemRow>
  readonly auditOf: Grouped<AuditRow>
  /** The place a store's row names. @throws where the subject does not have exactly one */
  placeOf(storeId: string): PlaceLook
}

type Grouped<T> = (key: string) => readonly T[]
const defaultGraceMs = 120_000

/**
 * Rows first, places after: what a row promises must already be there, what it does not name yet may be on its way. What
 * people were told is taken before the rows, what recorders dropped after them: both lists may grow meanwhile.
 */
export async function takeSnapshot(subject: Subject, memory: HashMemory): Promise<Snapshot> {
  const told = [...subject.told]
  const rows = await readRows(subject.databaseUrl)
  const places: PlaceLook[] = []
  for (const place of subject.places) places.push(await lookAtPlace(place, memory))
  const workflows = await readWorkflows(subject)
  const find = indexRows(rows, places)
  const graceMs = subject.graceMs ?? defaultGraceMs
  return { subject: { ...subject, told, dropped: [...subject.dropped] }, graceMs, rows, places, workflows, find }
}

function indexRows(rows: Rows, places: readonly PlaceLook[]): Index {
  const store = by(rows.stores, (row) => row.id)
  return {
    recording: by(rows.recordings, (row) => row.id),
    deposit: by(rows.deposits, (row) => row.id),
    store,
    person: by(rows.people, (row) => row.id),
    file: by(rows.files, (row) => row.id),
    filesOf: grouped(rows.files, (row) => row.recording_id),
    copiesOf: grouped(rows.copies, (row) => row.recording_id),
    copiesOfFile: grouped(rows.copies, (row) => row.file_id),
    holdsOf: grouped(rows.holds, (row) => row.recording_id),
    dispositionsOf: grouped(rows.dispositions, (row) => row.recording_id),
    openProblemsOf: grouped(
      rows.problems.filter((row) => row.resolved_at === null),
      (row) => row.recording_id,
    ),
    auditOf: grouped(rows.audit, (row) => row.recording_id ?? ''),
    placeOf: (storeId) => findPlace(store.get(storeId), places),
  }
}

/** By name; where two accounts call their stores alike, by the address as well. */
function findPlace(row: StoreRow | undefined, places: readonly PlaceLook[]): PlaceLook {
  const named = places.filter(
    ({ place }) => place.name === row?.name && (place.role === 'inbox') === (row.role === 'inbox'),
  )
  const addressed = ({ place }: PlaceLook) =>
    row?.url.includes(place.kind === 'directory' ? place.path : `${place.bucket}/${place.prefix}`) === true
  const [found, other] = named.length > 1 ? named.filter(addressed) : named
  if (found === undefined || other !== undefined)
    throw new Error(`The oracle was not told of exactly one place for store ${row?.name} (${row?.url}).`)
  return found
}

function by<T>(rows: readonly T[], keyOf: (row: T) => string): ReadonlyMap<string, T> {
  return new Map(rows.map((row) => [keyOf(row), row]))
}

/** Rows by a key. */
export function groupBy<T>(rows: readonly T[], keyOf: (row: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const group = groups.get(keyOf(row))
    if (group === undefined) groups.set(keyOf(row), [row])
    else group.push(row)
  }
  return groups
}

function grouped<T>(rows: readonly T[], keyOf: (row: T) => string): Grouped<T> {
  const groups = groupBy(rows, keyOf)
  return (key) => groups.get(key) ?? []
}

/** True where a recording is on its way out for good by a deletion that says so itself. */
export function isLeaving(recording: RecordingRow, find: Index): boolean {
  return (recording.state === 'purging' || recording.state === 'purged') && purgeOf(recording, find) !== undefined
}

/** The deletion that a recording is purged by. */
export function purgeOf(recording: RecordingRow, find: Index): DispositionRow | undefined {
  return find.dispositionsOf(recording.id).find(({ state }) => state === 'purging' || state === 'done')
}

/** The recording's own now: the database's clock, and how far it was moved. */
export function nowOf(recording: RecordingRow, rows: Rows): number {
  return rows.nowMs + recording.clock_offset_ms
}

/** The state that an audit row's action says a recording entered, or `null` where it says something else. */
export function stateOf(action: string): string | null {
  const state = action.startsWith('recording.') ? action.slice('recording.'.length) : ''
  return recordingStates.has(state) ? state : null
}

/** The states a recording went through, by its audit trail. */
export function statesInAudit(recordingId: string, find: Index): readonly AuditRow[] {
  return find.auditOf(recordingId).filter(({ action }) => stateOf(action) !== null)
}
