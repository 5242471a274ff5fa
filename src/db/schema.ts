import type { ColumnType, Generated } from 'kysely'
import type { DepositState, EndSignal } from '../domain/deposit.ts'
import type { EncodePlan, MediaFacts } from '../domain/encode.ts'
import type { RetentionPlan } from '../domain/plan.ts'
import type { Policy } from '../domain/policy.ts'
import type { Assignment, Disposition, RecordingState } from '../domain/recording.ts'

/** Postgres returns bigint as text; `db/` turns it into numbers at its own edge. */
type Big = ColumnType<string, number, number>
type BigOrNull = ColumnType<string | null, number | null, number | null>
type Instant = ColumnType<Date, Date | undefined, Date>
type InstantOrNull = ColumnType<Date | null, Date | null | undefined, Date | null>
/** Written as text (`JSON.stringify`), read parsed. */
type Json<T> = ColumnType<T, string, string>
type JsonOrNull<T> = ColumnType<T | null, string | null | undefined, string | null>

/** The tables, as `migrations/` made them. Rows stop in `src/db/`; the rest speaks domain types. */
export interface Schema {
  system: { only_row: Generated<boolean>; fast_forward: Generated<boolean>; created_at: Instant }
  accounts: { id: Generated<string>; name: string; policy: Json<Policy>; created_at: Instant }
  people: {
    id: Generated<string>
    account_id: string
    name: string
    email: string
    roles: string[]
    created_at: Instant
  }
  api_keys: {
    id: Generated<string>
    account_id: string
    person_id: string
    label: string
    key_sha256: string
    scopes: string[]
    created_at: Instant
    revoked_at: InstantOrNull
  }
  sessions: { token_sha256: string; account_id: string; api_key_id: string; expires_at: ColumnType<Date, Date, Date> }
  stores: {
    id: Generated<string>
    account_id: string
    name: string
    site: string
    role: 'inbox' | 'primary' | 'backup'
    url: string
    created_at: Instant
  }
  recorders: {
    id: Generated<string>
    account_id: string
    inbox_id: string
    name: string
    description: Generated<string>
    directory: string
    manager_id: string | null
    assignment: Assignment
    default_owner_id: string | null
    is_default: Generated<boolean>
    ip: string | null
    notify_salt: string | null
    notify_secret: ColumnType<string | null, string | null | undefined, string | null>
    quiet_ms: BigOrNull
    created_at: Instant
  }
  notify_calls: {
    account_id: string
    recorder_id: string
    call_id: string
    seen_at: Instant
  }
  deposits: {
    id: Generated<string>
    account_id: string
    inbox_id: string
    recorder_id: string | null
    path: string
    size_bytes: Big
    mtime_ms: Big
    file_id: string
    first_seen_at: Instant
    changed_at: Instant
    looks: Generated<number>
    state: DepositState
    end_signal: EndSignal | null
    sha256: string | null
    reason_code: string | null
    reason: string | null
    attempts: Generated<number>
    recording_id: string | null
    complete_at: InstantOrNull
    settled_at: InstantOrNull
  }
  announced_puts: {
    account_id: string
    store_id: string
    key: string
    deposit_id: string
    announced_at: Instant
  }
  recording_edges: { from_state: RecordingState; to_state: RecordingState }
  recordings: {
    id: string
    account_id: string
    recorder_id: string
    deposit_id: string
    state: Generated<RecordingState>
    state_since: Instant
    title: string
    description: Generated<string>
    tags: Generated<string[]>
    owner_id: string | null
    sha256: string
    size_bytes: Big
    media: Json<MediaFacts>
    encode_plan: JsonOrNull<EncodePlan>
    progress_percent: number | null
    waiting_for: string | null
    next_step: string | null
    next_at: InstantOrNull
    waiting_basis: ColumnType<string | null, never, string | null>
    plan: JsonOrNull<RetentionPlan>
    plan_hash: string | null
    retain_until: InstantOrNull
    attempt: Generated<number>
    clock_offset_ms: ColumnType<string, number | undefined, number>
    clock_limit_ms: ColumnType<string, number | undefined, number>
    certificate: JsonOrNull<unknown>
    fixity_at: InstantOrNull
    fixity_due_at: Instant
    version: ColumnType<string, number | undefined, never>
    created_at: Instant
  }
  /** Written by triggers only. */
  recording_words: { account_id: string; recording_id: string; created_at: Instant; word: string }
  files: {
    id: Generated<string>
    account_id: string
    recording_id: string
    kind: 'original' | 'video' | 'hls' | 'poster' | 'sprite' | 'audio' | 'manifest'
    name: string
    key: string
    content_type: string
    size_bytes: Big
    sha256: string
    width_px: number | null
    height_px: number | null
    duration_ms: BigOrNull
    created_at: Instant
  }
  encode_slices: {
    account_id: string
    recording_id: string
    plan_hash: string
    slice: number
    rung: string
    key: string
    size_bytes: Big
    sha256: string
    created_at: Instant
  }
  copies: {
    id: Generated<string>
    account_id: string
    recording_id: string
    file_id: string
    store_id: string
    state: 'stored' | 'verified' | 'failed' | 'purged'
    stored_at: Instant
    verified_at: InstantOrNull
    purged_at: InstantOrNull
    checked_at: InstantOrNull
    check_result: 'ok' | 'failed' | 'could_not_run' | null
    check_since: InstantOrNull
    check_note: string | null
    mend_from: string | null
    going_at: InstantOrNull
  }
  holds: {
    id: Generated<string>
    account_id: string
    recording_id: string
    reason: string
    placed_by: string
    placed_at: Instant
    released_by: string | null
    released_at: InstantOrNull
  }
  dispositions: {
    id: Generated<string>
    account_id: string
    recording_id: string
    requested_by: string | null
    requested_at: Instant
    reason: string
    plan_hash: string
    state: ColumnType<Disposition['state'], Disposition['state'] | undefined, Disposition['state']>
    undo_until: InstantOrNull
    purge_started_at: InstantOrNull
    settled_at: InstantOrNull
  }
  approvals: { disposition_id: string; person_id: string; account_id: string; plan_hash: string; at: Instant }
  problems: {
    id: Generated<string>
    account_id: string
    recording_id: string
    stage: string
    code: string
    message: string
    attempts: number
    since: Instant
    next_retry_at: InstantOrNull
    options: string[]
    resolved_at: InstantOrNull
    resolution: string | null
  }
  audit_events: {
    account_id: string
    seq: ColumnType<string, number | undefined, never>
    recording_id: string | null
    at: Instant
    clock_at: InstantOrNull
    actor: string
    action: string
    detail: ColumnType<Record<string, unknown>, string | undefined, never>
    prev_hash: ColumnType<string, string | undefined, never>
    hash: ColumnType<string, string | undefined, never>
  }
  idempotency_keys: {
    account_id: string
    key: string
    request_sha256: string
    status: number | null
    body: JsonOrNull<unknown>
    created_at: Instant
  }
  notices: {
    account_id: string
    recording_id: string
    kind: string
    occasion: string
    recipient: string
    sent_at: Instant
  }
  life_rounds: {
    account_id: string
    began_at: Instant
    after_id: string | null
    ended_at: InstantOrNull
    wake: Generated<boolean>
  }
  state_counts: { account_id: string; state: RecordingState; recordings: number; bytes: string }
}
