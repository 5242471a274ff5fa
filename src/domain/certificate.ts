/** What is signed when a recording was purged: enough to prove which bytes went, where, when, why and on whose word. */
export interface CertificatePayload {
  readonly version: 1
  readonly recordingId: string
  readonly accountId: string
  readonly title: string
  readonly sha256: string
  readonly acceptedAt: string
  readonly retainedUntil: string | null
  readonly reason: string
  readonly planHash: string
  readonly requestedBy: string
  readonly approvedBy: readonly string[]
  readonly copies: readonly {
    readonly file: string
    readonly store: string
    readonly site: string
    readonly sha256: string
    readonly sizeBytes: number
    readonly purgedAt: string
  }[]
  readonly auditHead: { readonly seq: number; readonly hash: string }
  readonly clockOffsetMs: number
  readonly issuedAt: string
}

/** A deletion certificate: verified offline by `scripts/verify-certificate.mjs`. */
export interface Certificate {
  readonly payload: CertificatePayload
  /** Base64 Ed25519 signature over the canonical JSON of the payload. */
  readonly signature: string
  /** First 16 hex digits of the SHA-256 of the public key (SPKI, DER). */
  readonly keyId: string
  /** PEM, SPKI. Trust it only after comparing it, or its id, with the one the keeper publishes. */
  readonly publicKey: string
}
