import { createHash, createPublicKey, verify } from 'node:crypto'
import type { AuditRow, RetentionPlanJson } from './database.ts'

/** JSON with sorted keys and no white space: the text a certificate's signature is over. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(',')}}`
}

/** The hash an approver's word is bound to, from the plan as it is written down. */
export function planHash(plan: RetentionPlanJson): string {
  const actions = plan.actions.map(({ kind, atMs, reason }) => [kind, atMs, reason])
  const text = [plan.policyVersion, plan.ruleId, plan.retainUntilMs, plan.reason, plan.extendedToMs, actions]
  return sha256(JSON.stringify(text))
}

/** The hash of an audit row, from what it says and the hash before it. */
export function auditHash(row: AuditRow): string {
  const { prev_hash, account_id, seq, recording_id, at_text, clock_at_text, actor, action, detail_text } = row
  const parts = [
    prev_hash,
    account_id,
    seq,
    recording_id ?? '',
    at_text,
    clock_at_text ?? '',
    actor,
    action,
    detail_text,
  ]
  return sha256(parts.join('\n'))
}

/** Why a signature proves nothing, or `null` where it holds. */
export function wrongWithSignature(
  certificate: { payload: unknown; signature: unknown; keyId: unknown; publicKey: unknown },
  expectedPem: string | undefined,
): string | null {
  const { payload, signature, keyId, publicKey } = certificate
  if (typeof signature !== 'string' || typeof publicKey !== 'string') return 'it has no signature or no key'
  try {
    const key = createPublicKey(expectedPem ?? publicKey)
    const id = sha256(key.export({ type: 'spki', format: 'der' })).slice(0, 16)
    if (keyId !== id) return `it names the key ${String(keyId)}, not ${id}`
    const bytes = Buffer.from(canonicalJson(payload))
    return verify(null, bytes, key, Buffer.from(signature, 'base64'))
      ? null
      : 'its signature does not match its payload'
  } catch (error) {
    return `its key cannot be used: ${String(error)}`
  }
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex')
}
