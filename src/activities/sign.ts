import { createHash, createPublicKey, sign } from 'node:crypto'
import type { KeyObject } from 'node:crypto'
import { canonicalJson } from '../domain/archive.ts'
import type { Certificate, CertificatePayload } from '../domain/certificate.ts'

/** The public half of a signing key as it is published. */
export interface PublishedKey {
  /** First 16 hex digits of the SHA-256 of the SPKI, DER. */
  readonly keyId: string
  readonly publicKeyPem: string
}

/** The id and public half of a signing key. */
export function publishKey(privateKey: KeyObject): PublishedKey {
  const publicKey = createPublicKey(privateKey)
  const keyId = createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16)
  return { keyId, publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString() }
}

/** Signs certificates with an Ed25519 key. The same payload gives the same certificate. */
export function createSigner(privateKey: KeyObject): (payload: CertificatePayload) => Certificate {
  const { keyId, publicKeyPem } = publishKey(privateKey)
  return (payload) => ({
    payload,
    signature: sign(null, Buffer.from(canonicalJson(payload)), privateKey).toString('base64'),
    keyId,
    publicKey: publicKeyPem,
  })
}
