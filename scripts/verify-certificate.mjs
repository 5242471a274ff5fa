#!/usr/bin/env node
// Verifies a deletion certificate offline, with nothing but Node:
//   node verify-certificate.mjs CERTIFICATE.json [--key PUBLIC_KEY.pem] [--json]
// Exit code 0: the signature and every statement checked here hold. 1: they do not. 2: the question was wrong.
import { createHash, createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'

const usage = 'Usage: verify-certificate.mjs CERTIFICATE.json [--key PUBLIC_KEY.pem] [--json]'

main()

function main() {
  const { file, keyFile, json } = readArguments()
  const certificate = readCertificate(file)
  const pinned = keyFile === undefined ? null : readKey(read(keyFile), keyFile)
  const problems = checkCertificate(certificate, pinned)
  const valid = problems.length === 0
  if (json) {
    console.log(JSON.stringify({ valid, pinned: pinned !== null, problems, keyId: certificate.keyId ?? null }))
  } else {
    for (const problem of problems) console.log(`FAILED  ${problem}`)
    // What an invalid certificate says is nobody's statement: it is not repeated.
    if (valid) console.log(describe(certificate, pinned !== null))
  }
  process.exitCode = valid ? 0 : 1
}

function readArguments() {
  try {
    const options = { key: { type: 'string' }, json: { type: 'boolean', default: false } }
    const { values, positionals } = parseArgs({ options, allowPositionals: true })
    if (positionals.length !== 1) stop(usage)
    return { file: positionals[0], keyFile: values.key, json: values.json }
  } catch (error) {
    return stop(`${error.message}\n${usage}`)
  }
}

function readCertificate(file) {
  try {
    const value = JSON.parse(read(file))
    if (isObject(value)) return value
  } catch (error) {
    stop(`${file} is not JSON: ${error.message}`)
  }
  return stop(`${file} is not a certificate.`)
}

function read(file) {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    return stop(`${file} cannot be read: ${error.message}`)
  }
}

function readKey(text, source) {
  try {
    return createPublicKey(text)
  } catch (error) {
    return stop(`${source} holds no public key: ${error.message}`)
  }
}

function stop(line) {
  console.error(line)
  process.exit(2)
}

/** Every reason why this certificate proves nothing; an empty list is the proof. */
function checkCertificate({ payload, signature, keyId, publicKey }, pinned) {
  if (!isObject(payload) || typeof signature !== 'string' || typeof publicKey !== 'string')
    return ['It lacks its payload, its signature or its public key.']
  let key
  try {
    key = createPublicKey(publicKey)
  } catch {
    return ['Its public key cannot be read.']
  }
  const problems = []
  if (key.asymmetricKeyType !== 'ed25519') problems.push(`Its key is ${key.asymmetricKeyType}, not Ed25519.`)
  if (keyId !== idOf(key)) problems.push(`Its key id is ${keyId}, but its key has the id ${idOf(key)}.`)
  if (pinned !== null && idOf(pinned) !== idOf(key))
    problems.push(`It was signed with the key ${idOf(key)}, not with the expected key ${idOf(pinned)}.`)
  if (!holdsSignature(payload, pinned ?? key, signature)) problems.push('Its signature does not match its payload.')
  return [...problems, ...checkStatements(payload)]
}

function holdsSignature(payload, key, signature) {
  if (key.asymmetricKeyType !== 'ed25519') return false
  return verify(null, Buffer.from(canonicalJson(payload)), key, Buffer.from(signature, 'base64'))
}

/** What is signed must also make sense: a deletion certificate with a copy left over certifies nothing. */
function checkStatements(payload) {
  if (payload.version !== 1) return [`Its version is ${payload.version}; this program knows version 1.`]
  const problems = []
  const instant = (name, value) => {
    const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN
    if (Number.isNaN(ms)) problems.push(`${name} is not an instant: ${String(value)}.`)
    return ms
  }
  const acceptedMs = instant('acceptedAt', payload.acceptedAt)
  const issuedMs = instant('issuedAt', payload.issuedAt)
  const offsetMs =
    Number.isSafeInteger(payload.clockOffsetMs) && payload.clockOffsetMs >= 0 ? payload.clockOffsetMs : null
  if (offsetMs === null) problems.push('clockOffsetMs is not a whole number of milliseconds.')
  for (const name of ['recordingId', 'accountId', 'reason', 'planHash', 'requestedBy'])
    if (typeof payload[name] !== 'string' || payload[name] === '') problems.push(`${name} is missing.`)
  if (!isSha256(payload.sha256)) problems.push('sha256 is not a SHA-256.')
  if (!Array.isArray(payload.approvedBy) || payload.approvedBy.length === 0) problems.push('Nobody approved it.')
  else if (payload.approvedBy.includes(payload.requestedBy)) problems.push('Who requested it also approved it.')
  if (!isObject(payload.auditHead) || !isSha256(payload.auditHead.hash)) problems.push('auditHead is missing.')
  const copies = Array.isArray(payload.copies) ? payload.copies : []
  if (copies.length === 0) problems.push('It names no copy.')
  for (const copy of copies) {
    const name = `${copy?.file} in ${copy?.store}`
    if (!isSha256(copy?.sha256)) problems.push(`The copy ${name} has no SHA-256.`)
    const purgedMs = instant(`purgedAt of ${name}`, copy?.purgedAt)
    if (purgedMs < acceptedMs) problems.push(`The copy ${name} was purged before the recording was accepted.`)
    if (purgedMs > issuedMs) problems.push(`The copy ${name} was purged after the certificate was issued.`)
    if (payload.retainedUntil !== null && purgedMs + (offsetMs ?? 0) < instant('retainedUntil', payload.retainedUntil))
      problems.push(`The copy ${name} was purged before its retention ended on ${payload.retainedUntil}.`)
  }
  if (!copies.some((copy) => copy?.sha256 === payload.sha256)) problems.push('No copy is the original.')
  return problems
}

function describe({ payload, keyId }, pinned) {
  const bytes = payload.copies.reduce((sum, copy) => sum + copy.sizeBytes, 0)
  const moved = Math.round(payload.clockOffsetMs / 86_400_000)
  const pin = pinned
    ? `the expected key ${keyId}`
    : `key ${keyId} (compare it with the one the keeper publishes, or pass --key)`
  return [
    `VALID   ${payload.title} (${payload.recordingId})`,
    row('original', `SHA-256 ${payload.sha256}`),
    row('accepted', payload.acceptedAt),
    row('retained until', payload.retainedUntil ?? 'not retained'),
    ...(payload.clockOffsetMs === 0 ? [] : [row('clock', `moved ${moved} days ahead (a demo or a test)`)]),
    row('why', payload.reason),
    row('requested by', payload.requestedBy),
    row('approved by', payload.approvedBy.join(', ')),
    row('purged', `${payload.copies.length} copies, ${bytes} bytes`),
    ...describeStores(payload.copies),
    row('audit trail', `entry ${payload.auditHead.seq}, ${payload.auditHead.hash.slice(0, 16)}…`),
    row('issued', payload.issuedAt),
    row('signed with', pin),
  ].join('\n')
}

/** One line a store: every single copy with its hash and time is in the certificate itself. */
function describeStores(copies) {
  const stores = groupBy(copies, storeOf)
  return [...stores].map(([store, held]) => {
    const last = held
      .map((copy) => copy.purgedAt)
      .sort()
      .at(-1)
    return row('', `${store}: ${held.length} files, the last at ${last}`)
  })
}

function storeOf(copy) {
  return `${copy.store} (${copy.site})`
}

function groupBy(items, keyOf) {
  const groups = new Map()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return groups
}

function row(name, value) {
  return `  ${name.padEnd(14)} ${value}`
}

function idOf(key) {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
    .slice(0, 16)
}

/** JSON with sorted keys and no white space: the text that was signed. */
function canonicalJson(value) {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (!isObject(value)) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([key, field]) => `${JSON.stringify(key)}:${canonicalJson(field)}`).join(',')}}`
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isSha256(value) {
  return typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)
}
