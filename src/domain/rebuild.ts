/** One thing a rebuilt database does not have from the lost one, because no manifest holds it. */
export interface Loss {
  /** In the words of those who miss it. */
  readonly what: string
  /** Tables whose rows are missing, or are other ones. */
  readonly rows?: readonly string[]
  /** Columns (`table.column`) that hold something else in rows that are there again. */
  readonly columns?: readonly string[]
  /** What stands there instead, and what to do about it. */
  readonly instead: string
}

/**
 * What manifests cannot hold, whole: the report of every rebuild says it, and a test compares a lost database with a
 * rebuilt one, table by table, and accepts no difference that is not here.
 */
export const notInManifests: readonly Loss[] = [
  {
    what: 'legal holds',
    rows: ['holds'],
    instead: 'every rebuilt recording is held until a person has checked it and released it',
  },
  {
    what: 'requests to delete, approvals, the trash and undo windows',
    rows: ['dispositions', 'approvals'],
    columns: ['recordings.state', 'recordings.state_since'],
    instead: 'what was on its way out, and still stands whole in the store, is kept again',
  },
  {
    what: 'extensions, and plans by a policy of its own',
    columns: ['recordings.plan', 'recordings.plan_hash', 'recordings.retain_until'],
    instead:
      'planned anew from the day it was accepted, by the default policy, never to an earlier day than its manifest says',
  },
  {
    what: 'recordings that were purged, with their certificates',
    rows: ['recordings', 'recording_words', 'state_counts', 'deposits', 'files', 'copies'],
    columns: ['recordings.certificate'],
    instead: 'certificates that were handed out still verify',
  },
  {
    what: 'recordings that were not sealed yet (no manifest): waiting to be claimed, or being encoded',
    rows: ['recordings', 'recording_words', 'state_counts', 'deposits', 'files', 'copies'],
    instead: 'named above as unsealed; a source that is still in its inbox is taken in again',
  },
  {
    what: 'deposits that never became a recording: arriving, quarantined, refused, duplicates',
    rows: ['deposits'],
    instead: 'what still lies in an inbox is looked at again',
  },
  {
    what: 'what the inbox knew of a source: its time, identity and end signal, and whether it had left',
    columns: [
      'deposits.inbox_id',
      'deposits.recorder_id',
      'deposits.mtime_ms',
      'deposits.file_id',
      'deposits.first_seen_at',
      'deposits.changed_at',
      'deposits.looks',
      'deposits.state',
      'deposits.end_signal',
      'deposits.reason',
      'deposits.reason_code',
      'deposits.attempts',
      'deposits.complete_at',
      'deposits.settled_at',
    ],
    instead: 'the deposit counts as released, and says that it was rebuilt',
  },
  {
    what: 'title, description, tags and owner as they were changed after sealing',
    columns: ['recordings.title', 'recordings.description', 'recordings.tags', 'recordings.owner_id'],
    instead: 'as they were when the package was sealed',
  },
  {
    what: 'where each life stood: problems, progress, what it waited for, which notices went out',
    rows: ['problems', 'notices', 'life_rounds'],
    columns: [
      'recordings.progress_percent',
      'recordings.attempt',
      'recordings.waiting_for',
      'recordings.next_step',
      'recordings.next_at',
      'recordings.waiting_basis',
      'recordings.fixity_due_at',
      'recordings.version',
    ],
    instead: 'each life begins again as kept and held, and says so',
  },
  {
    what: 'how far the clock of a recording had been moved',
    columns: ['recordings.clock_offset_ms', 'recordings.clock_limit_ms'],
    instead: 'the real clock',
  },
  {
    what: 'why renditions were made as they are, and their width, height and length',
    columns: ['recordings.encode_plan', 'files.width_px', 'files.height_px', 'files.duration_ms'],
    instead: 'unknown; the files themselves are there',
  },
  {
    what: 'copies in other stores, and when each was stored and verified',
    rows: ['copies'],
    columns: ['copies.store_id', 'copies.stored_at', 'copies.verified_at', 'copies.state'],
    instead: 'rebuild from each further store, too (--as backup)',
  },
  {
    what: 'internal numbers of rows, when they were made, and instants finer than a millisecond',
    columns: [
      'files.id',
      'files.created_at',
      'copies.id',
      'copies.file_id',
      'recordings.recorder_id',
      'recordings.created_at',
      'stores.id',
      'stores.created_at',
    ],
    instead: 'new ones; recordings, deposits and the account keep theirs',
  },
  {
    what: 'the audit trail',
    rows: ['audit_events', 'audit_heads'],
    instead: 'a new one, which begins with the rebuild',
  },
  {
    what: 'API keys, sessions and remembered requests',
    rows: ['api_keys', 'sessions', 'idempotency_keys'],
    instead: '`reelkeep account add` with the name of the account gives an administrator a key',
  },
  {
    what: 'people who own nothing, and everybody’s name and roles',
    rows: ['people'],
    columns: ['people.id', 'people.name', 'people.roles', 'people.created_at'],
    instead: 'owners are people with the role user, named by their address',
  },
  {
    what: 'recorders without a kept recording, and every recorder’s settings',
    rows: ['recorders'],
    columns: [
      'recorders.id',
      'recorders.inbox_id',
      'recorders.description',
      'recorders.directory',
      'recorders.manager_id',
      'recorders.assignment',
      'recorders.default_owner_id',
      'recorders.is_default',
      'recorders.ip',
      'recorders.notify_salt',
      'recorders.quiet_ms',
      'recorders.created_at',
    ],
    instead: 'by name, without a directory; `reelkeep recorder add` with that name gives it one again',
  },
  {
    what: 'inboxes and other stores',
    rows: ['stores'],
    instead: 'the store this was rebuilt from, and an inbox without an address; `reelkeep store add` adds the others',
  },
  {
    what: 'the account’s name and policy, and how the system was created',
    rows: ['system'],
    columns: ['accounts.name', 'accounts.policy', 'accounts.created_at'],
    instead: 'the default policy',
  },
]

/** The address of the inbox of rebuilt recorders: it has none until somebody says it. */
export const unsetAddress = 'unset:inbox'

const unknownDirectory = '.rebuilt/'

/** The directory of a rebuilt recorder: nothing is ever looked into below a dot, so nothing is taken for its deposits. */
export function placeholderDirectory(recorderName: string): string {
  return `${unknownDirectory}${recorderName}`
}

/** True where a recorder was rebuilt by its name and waits for its inbox and directory. */
export function isPlaceholderDirectory(directory: string): boolean {
  return directory.startsWith(unknownDirectory)
}

/** The reason of the hold that every rebuilt recording stands under. */
export function rebuiltHoldReason(atMs: number): string {
  return `rebuilt from manifests on ${new Date(atMs).toISOString().slice(0, 10)}: check holds and retention, then release`
}
