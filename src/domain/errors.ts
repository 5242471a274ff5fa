/**
 * What went wrong, as one closed table: code -> kind. HTTP status and retryability follow from the kind
 * and are mapped in exactly two places: the activity interceptor and `api/errors.ts`.
 */
export type ErrorKind =
  /** The request or the file is bad; asking again changes nothing. */
  | 'rejected'
  /** The caller may not do this. */
  | 'forbidden'
  /** There is no such thing (or it belongs to another account, which must look the same). */
  | 'not_found'
  /** The thing is not in the state the caller believed it to be in. */
  | 'conflict'
  /** A dependency did not answer or answered that it cannot now; trying again later may work. */
  | 'unavailable'
  /** The operator must change a setting, a credential or a machine. */
  | 'misconfigured'
  /** Bytes are not what they were promised to be. */
  | 'corrupt'

/** Every error code of the product. Codes are API: never rename one. */
export const errorKinds = {
  // requests
  invalid_request: 'rejected',
  unsupported_media_type: 'rejected',
  body_too_large: 'rejected',
  invalid_cursor: 'rejected',
  precondition_required: 'rejected',
  idempotency_key_reused: 'rejected',
  range_not_satisfiable: 'rejected',
  invalid_policy: 'rejected',
  unauthenticated: 'forbidden',
  forbidden: 'forbidden',
  not_found: 'not_found',
  // state
  precondition_failed: 'conflict',
  idempotency_in_progress: 'conflict',
  already_received: 'conflict',
  wrong_state: 'conflict',
  already_claimed: 'conflict',
  not_claimable: 'conflict',
  on_hold: 'conflict',
  retention_not_ended: 'conflict',
  plan_changed: 'conflict',
  self_approval: 'conflict',
  already_approved: 'conflict',
  undo_window_over: 'conflict',
  copies_not_verified: 'conflict',
  name_taken: 'conflict',
  fast_forward_refused: 'conflict',
  // deposits: why one was quarantined (its source is kept and it can be retried)
  empty_file: 'rejected',
  truncated: 'rejected',
  checksum_mismatch: 'rejected',
  type_mismatch: 'rejected',
  no_streams: 'rejected',
  implausible_duration: 'rejected',
  too_many_pixels: 'rejected',
  undecodable: 'rejected',
  special_file: 'rejected',
  unsafe_name: 'rejected',
  incomplete_package: 'rejected',
  archive_unsafe: 'rejected',
  unsupported_package: 'rejected',
  zip_path: 'rejected',
  zip_special: 'rejected',
  zip_ambiguous: 'rejected',
  zip_ratio: 'rejected',
  zip_overlap: 'rejected',
  zip_size: 'rejected',
  zip_entries: 'rejected',
  zip_crc: 'rejected',
  zip_structure: 'rejected',
  zip_method: 'rejected',
  xml_doctype: 'rejected',
  xml_size: 'rejected',
  xml_depth: 'rejected',
  smil_src: 'rejected',
  vanished: 'rejected',
  changed_while_read: 'conflict',
  // stores
  store_unavailable: 'unavailable',
  store_full: 'unavailable',
  store_denied: 'misconfigured',
  store_misconfigured: 'misconfigured',
  host_key_mismatch: 'misconfigured',
  object_missing: 'not_found',
  object_exists: 'conflict',
  object_corrupt: 'corrupt',
  object_cold: 'conflict',
  copy_mismatch: 'corrupt',
  copies_disagree: 'corrupt',
  delete_ineffective: 'unavailable',
  store_alters_bytes: 'unavailable',
  // the machine
  scratch_full: 'unavailable',
  scratch_corrupt: 'unavailable',
  encoder_missing: 'misconfigured',
  encode_failed: 'rejected',
  encode_incomplete: 'corrupt',
  rendition_corrupt: 'corrupt',
  encode_timeout: 'unavailable',
  cancelled: 'conflict',
  mail_unavailable: 'unavailable',
  mail_rejected: 'rejected',
  database_unavailable: 'unavailable',
  pipeline_unavailable: 'unavailable',
  invalid_config: 'misconfigured',
  missing_tool: 'misconfigured',
  already_running: 'conflict',
  internal: 'unavailable',
} as const satisfies Record<string, ErrorKind>

/** One of the product's stable error codes. */
export type ErrorCode = keyof typeof errorKinds

/** Facts that belong to an error. Values must survive JSON and never contain secrets. */
export type ErrorDetails = Readonly<Record<string, string | number | boolean | null>>

/**
 * The product's only error class. `message` says what failed, for which thing, and what to do next, in
 * that order: "Copy of rec 1f3a… to store backup-b failed: disk full. Free space there; it is retried at 12:40."
 */
export class ReelkeepError extends Error {
  readonly code: ErrorCode
  readonly details: ErrorDetails

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: ErrorDetails } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ReelkeepError'
    this.code = code
    this.details = options.details ?? {}
  }

  get kind(): ErrorKind {
    return errorKinds[this.code]
  }
}

/** True where trying the same thing again, later, may succeed without anybody changing anything. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof ReelkeepError) || error.kind === 'unavailable'
}

/** The error of this code, where `error` is one. */
export function hasCode(error: unknown, code: ErrorCode): error is ReelkeepError {
  return error instanceof ReelkeepError && error.code === code
}

/** True for strings that are one of the product's codes (errors come back from Temporal as plain strings). */
export function isErrorCode(value: unknown): value is ErrorCode {
  return typeof value === 'string' && Object.hasOwn(errorKinds, value)
}
