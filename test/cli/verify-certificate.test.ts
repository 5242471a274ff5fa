import { execFile } from 'node:child_process'
import { createHash, generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { canonicalJson } from '../../src/domain/archive.ts'
import type { Certificate, CertificatePayload } from '../../src/domain/certificate.ts'

const script = fileURLToPath(new URL('../../scripts/verify-certificate.mjs', import.meta.url))
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const keeper = generateKeyPairSync('ed25519')
const stranger = generateKeyPairSync('ed25519')
let folder = ''

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'certificate-'))
  await writeFile(join(folder, 'keeper.pem'), keeper.publicKey.export({ type: 'spki', format: 'pem' }))
  await writeFile(join(folder, 'stranger.pem'), stranger.publicKey.export({ type: 'spki', format: 'pem' }))
})
afterAll(() => rm(folder, { recursive: true }))

const payload: CertificatePayload = {
  version: 1,
  recordingId: 'a8f5e2f0-0000-4000-8000-000000000001',
  accountId: 'a8f5e2f0-0000-4000-8000-000000000002',
  title: 'Übung 1 – „Quotes“ & 🎓',
  sha256: sha256('original'),
  acceptedAt: '2026-01-01T10:00:00.000Z',
  retainedUntil: '2026-02-01T10:00:00.000Z',
  reason: 'Recordings are kept for a month',
  planHash: sha256('plan'),
  requestedBy: 'policy',
  approvedBy: ['Ben'],
  copies: ['primary', 'backup'].map((store) => ({
    file: 'original.mp4',
    store,
    site: `site of ${store}`,
    sha256: sha256('original'),
    sizeBytes: 1234,
    purgedAt: '2026-02-16T10:00:00.000Z',
  })),
  auditHead: { seq: 12, hash: sha256('audit') },
  clockOffsetMs: 0,
  issuedAt: '2026-02-16T10:00:01.000Z',
}

function certify(statement: CertificatePayload, keys = keeper): Certificate {
  const der = keys.publicKey.export({ type: 'spki', format: 'der' })
  return {
    payload: statement,
    signature: sign(null, Buffer.from(canonicalJson(statement)), keys.privateKey).toString('base64'),
    keyId: createHash('sha256').update(der).digest('hex').slice(0, 16),
    publicKey: keys.publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

async function run(certificate: unknown, ...args: string[]): Promise<{ code: number; out: string }> {
  const file = join(folder, 'certificate.json')
  await writeFile(file, typeof certificate === 'string' ? certificate : JSON.stringify(certificate, null, 2))
  return new Promise((resolve) => {
    execFile(process.execPath, [script, file, ...args], (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), out: stdout + stderr }),
    )
  })
}

describe('a certificate that holds', () => {
  test('is accepted with a summary that names its key', async () => {
    const { code, out } = await run(certify(payload))
    expect(out).toContain(`VALID   ${payload.title}`)
    expect(out).toContain('2 copies, 2468 bytes')
    expect(code).toBe(0)
  })
  test('is accepted with its keeper pinned, whatever the order of its keys', async () => {
    const { payload: statement, ...rest } = certify(payload)
    const reversed = Object.fromEntries(Object.entries(statement).toReversed())
    const { code, out } = await run({ ...rest, payload: reversed }, '--key', join(folder, 'keeper.pem'))
    expect(out).toContain('the expected key')
    expect(code).toBe(0)
  })
})

const good = certify(payload)
const copy = Object.assign({}, payload.copies[0])
test.each<[string, unknown, RegExp]>([
  ['another title', { ...good, payload: { ...payload, title: 'Another' } }, /signature does not match/],
  ['a copy left out', { ...good, payload: { ...payload, copies: [copy] } }, /signature does not match/],
  ['a field added', { ...good, payload: { ...payload, note: 'fine' } }, /signature does not match/],
  [
    'another key shown',
    { ...good, publicKey: certify(payload, stranger).publicKey },
    /key id|signature does not match/,
  ],
  ['a cut signature', { ...good, signature: good.signature.slice(0, 20) }, /signature does not match/],
  ['no payload', { ...good, payload: null }, /lacks its payload/],
  ['no approval', certify({ ...payload, approvedBy: [] }), /Nobody approved/],
  ['its own approval', certify({ ...payload, approvedBy: ['policy'] }), /also approved/],
  ['no copies', certify({ ...payload, copies: [] }), /names no copy/],
  [
    'a copy purged too early',
    certify({ ...payload, copies: [copy, { ...copy, purgedAt: '2026-01-20T00:00:00Z' }] }),
    /before its retention ended/,
  ],
  [
    'a copy purged later',
    certify({ ...payload, copies: [{ ...copy, purgedAt: '2027-01-20T00:00:00Z' }] }),
    /after the certificate/,
  ],
  ['no date', certify({ ...payload, copies: [{ ...copy, purgedAt: 'soon' }] }), /not an instant/],
  ['no original', certify({ ...payload, copies: [{ ...copy, sha256: sha256('other') }] }), /No copy is the original/],
])('a certificate with %s is refused', async (_name, certificate, reason) => {
  const { code, out } = await run(certificate)
  expect(out).toMatch(reason)
  expect(out).not.toContain('VALID')
  expect(code).toBe(1)
})

test("a stranger's signature does not pass the pinned key", async () => {
  const { code, out } = await run(certify(payload, stranger), '--key', join(folder, 'keeper.pem'))
  expect(out).toContain('not with the expected key')
  expect(code).toBe(1)
})

test.each(['', '[]', 'no json'])('%j is no certificate', async (text) => {
  expect((await run(text)).code).toBe(2)
})
