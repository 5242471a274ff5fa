import { createHash } from 'node:crypto'
import type { Database } from '../db/connect.ts'
import { areCopiesVerified } from '../db/facts.ts'
import { ensureRebuiltAccount, hasAccount, requireMigrated } from '../db/rebuilt-account.ts'
import type { RebuildSource, RebuiltAccount } from '../db/rebuilt-account.ts'
import { addRebuiltCopies, findSealed, insertRebuilt, listSealed } from '../db/rebuilt.ts'
import type { CheckedPackage, SealedRecording } from '../db/rebuilt.ts'
import { manifestKey } from '../domain/archive.ts'
import { hasCode, ReelkeepError } from '../domain/errors.ts'
import { largestManifestBytes, readManifest } from '../domain/manifest.ts'
import type { ManifestPlace } from '../domain/manifest.ts'
import { notInManifests } from '../domain/rebuild.ts'
import type { Loss } from '../domain/rebuild.ts'
import { findFault, findPackages, readSmall } from '../storage/packages.ts'
import type { FoundPackage } from '../storage/packages.ts'
import type { Store } from '../storage/store.ts'

/** What is rebuilt, from where, and how far the files are trusted. */
export interface RebuildRequest {
  readonly db: Database
  readonly store: Store
  readonly source: RebuildSource
  /** Only this account; null = every account of the store. */
  readonly accountId: string | null
  readonly accountName: string | null
  /** Compares sizes instead of reading every file back: then no copy counts as verified. */
  readonly fast: boolean
  readonly signal?: AbortSignal
  readonly onProgress?: (line: string) => void
}

/** What became of one folder of the store. */
export type Outcome =
  | { readonly kind: 'inserted'; readonly title: string; readonly files: number; readonly enoughCopies: boolean }
  | { readonly kind: 'copies_added'; readonly copies: number; readonly enoughCopies: boolean }
  | { readonly kind: 'unchanged'; readonly enoughCopies: boolean }
  | { readonly kind: 'refused'; readonly why: RefusalKind; readonly reason: string }

/** Why a folder became no recording. */
export type RefusalKind = 'unsealed' | 'broken_manifest' | 'broken_files' | 'differs' | 'same_bytes'

/** A folder with what became of it. */
export type Listed<O extends Outcome> = ManifestPlace & O

type OutcomeOf<K extends Outcome['kind']> = Extract<Outcome, { kind: K }>

/** Everything a rebuild did, left out, and cannot know. */
export interface RebuildReport {
  readonly from: string
  readonly role: 'primary' | 'backup'
  readonly site: string
  readonly checked: 'read back' | 'sizes only'
  readonly accounts: readonly string[]
  readonly inserted: readonly Listed<OutcomeOf<'inserted'>>[]
  readonly copiesAdded: readonly Listed<OutcomeOf<'copies_added'>>[]
  readonly unchanged: number
  readonly refused: readonly Listed<OutcomeOf<'refused'>>[]
  /** How many of them have fewer verified copies, or at fewer sites, than the policy asks for. */
  readonly lackingCopies: number
  /** What stands in the store and is no recording's. */
  readonly strangers: { readonly count: number; readonly examples: readonly string[] }
  readonly notInManifests: readonly Loss[]
}

/** Packages looked at side by side. */
const lanes = 4
const pageSize = 500

/**
 * Rebuilds the database from what stands in a store. Each recording is one transaction: a run that ends half-way is simply
 * begun again, and one that is run twice changes nothing. The store is only read.
 * @throws invalid_config, not_found where the store holds no package, wrong_state where the account has recordings that are not these
 */
export async function rebuild(request: RebuildRequest): Promise<RebuildReport> {
  const { store, db, source, onProgress } = request
  await requireMigrated(db)
  const content = await findPackages(store, {
    accountId: request.accountId,
    ...(request.signal === undefined ? {} : { signal: request.signal }),
    onFound: (count) => onProgress?.(`${count} recordings found in ${store.label}`),
  })
  const accountIds = [...new Set(content.packages.map((found) => found.accountId))]
  if (accountIds.length === 0)
    throw new ReelkeepError(
      'not_found',
      `There is no recording in ${store.label}. Check the address: folders <account>/<recording> must stand right below it.`,
    )
  if (request.accountName !== null && accountIds.length > 1)
    throw new ReelkeepError(
      'invalid_request',
      `${store.label} holds ${accountIds.length} accounts: ${accountIds.join(', ')}. Name one with --account to give it a name.`,
    )
  if (source.role === 'primary')
    for (const accountId of accountIds) await refuseOthers(request, accountId, content.packages)
  const outcomes = await goThrough(request, content.packages)
  const known = await Promise.all(accountIds.map(async (id) => ((await hasAccount(db, id)) ? [id] : [])))
  return {
    from: store.label,
    role: source.role,
    site: source.site,
    checked: request.fast ? 'sizes only' : 'read back',
    accounts: known.flat(),
    inserted: outcomes.filter((one) => one.kind === 'inserted'),
    copiesAdded: outcomes.filter((one) => one.kind === 'copies_added'),
    unchanged: outcomes.filter((one) => one.kind === 'unchanged').length,
    refused: outcomes.filter((one) => one.kind === 'refused'),
    lackingCopies: outcomes.filter((one) => one.kind !== 'refused' && !one.enoughCopies).length,
    strangers: content.strangers,
    notInManifests,
  }
}

/** An account that has recordings already is only gone on with where each of them is one of these, unchanged. */
async function refuseOthers(
  { db, store, signal }: RebuildRequest,
  accountId: string,
  packages: readonly FoundPackage[],
): Promise<void> {
  const sealed = new Set(
    packages.filter((found) => found.accountId === accountId && found.hasManifest).map((found) => found.recordingId),
  )
  for (let after: string | null = null; ;) {
    const page: readonly SealedRecording[] = await db.asAccount(accountId, (tx) => listSealed(tx, after, pageSize))
    for (const { id, state, manifestSha256 } of page) {
      const bytes = sealed.has(id)
        ? await readSmall(store, manifestKey(accountId, id), largestManifestBytes, signal).catch(ifMissing)
        : null
      if (bytes !== null && sha256Of(bytes) === manifestSha256) continue
      const what = sealed.has(id) ? 'another manifest' : 'no manifest'
      throw new ReelkeepError(
        'wrong_state',
        `Account ${accountId} already has recordings, and they are not those of ${store.label}: ${id} (${state}) has ${what} there. Nothing was written. Rebuild into an empty database, or add copies from a further store with --as backup.`,
      )
    }
    const last = page.at(-1)
    if (last === undefined || page.length < pageSize) return
    after = last.id
  }
}

function ifMissing(error: unknown): null {
  if (hasCode(error, 'object_missing')) return null
  throw error
}

async function goThrough(request: RebuildRequest, packages: readonly FoundPackage[]): Promise<Listed<Outcome>[]> {
  const accounts = new Map<string, Promise<RebuiltAccount>>()
  const { db, source, accountName } = request
  const into = (accountId: string) => {
    const made = accounts.get(accountId) ?? ensureRebuiltAccount(db, accountId, { accountName, source })
    accounts.set(accountId, made)
    return made
  }
  const outcomes: Listed<Outcome>[] = []
  const failed = new AbortController()
  const queue = packages.values()
  const lane = async () => {
    for (const found of queue) {
      failed.signal.throwIfAborted()
      request.signal?.throwIfAborted()
      const { accountId, recordingId } = found
      outcomes.push({ accountId, recordingId, ...(await take(request, found, into)) })
      request.onProgress?.(`${outcomes.length} of ${packages.length} recordings`)
    }
  }
  const running = Array.from({ length: lanes }, () =>
    lane().catch((error: unknown) => {
      failed.abort(error)
      throw error
    }),
  )
  const ends = await Promise.allSettled(running)
  if (ends.some((end) => end.status === 'rejected')) throw failed.signal.reason
  return outcomes.sort((a, b) => (`${a.accountId}/${a.recordingId}` < `${b.accountId}/${b.recordingId}` ? -1 : 1))
}

/** Looks at one package, and makes it a recording (or adds its copies to the one there is). */
async function take(
  request: RebuildRequest,
  found: FoundPackage,
  into: (accountId: string) => Promise<RebuiltAccount>,
): Promise<Outcome> {
  const read = await checkPackage(request, found)
  if ('kind' in read) return read
  const { db } = request
  const known = await db.asAccount(found.accountId, (tx) => findSealed(tx, found.recordingId))
  const fault = known === null ? null : faultOf(known, read)
  if (fault !== null) return fault
  const account = await into(found.accountId)
  const answer = known === null ? await insertRebuilt(db, account, read) : 'known'
  if (typeof answer === 'object')
    return refused('same_bytes', `the account keeps the same bytes as recording ${answer.sameBytesAs}`)
  const copies = answer === 'known' ? await addRebuiltCopies(db, account, read) : 0
  const enoughCopies = await db.asAccount(found.accountId, (tx) => areCopiesVerified(tx, found.recordingId))
  if (answer === 'inserted')
    return { kind: 'inserted', title: read.manifest.title, files: read.manifest.files.length + 1, enoughCopies }
  return copies === 0 ? { kind: 'unchanged', enoughCopies } : { kind: 'copies_added', copies, enoughCopies }
}

/** Why copies of this package are none of the recording that the database has under its id. */
function faultOf(known: SealedRecording, read: CheckedPackage): OutcomeOf<'refused'> | null {
  if (known.state === 'purging' || known.state === 'purged')
    return refused('differs', `the recording is ${known.state} in the database, and its files stand here still`)
  return known.manifestSha256 === read.manifestSha256
    ? null
    : refused('differs', 'the recording of this id in the database was sealed with another manifest')
}

function refused(why: RefusalKind, reason: string): OutcomeOf<'refused'> {
  return { kind: 'refused', why, reason }
}

/** The manifest, checked, with every file it names; or why this folder cannot become a recording. */
async function checkPackage(
  { store, fast, signal }: RebuildRequest,
  found: FoundPackage,
): Promise<CheckedPackage | OutcomeOf<'refused'>> {
  if (!found.hasManifest)
    return refused('unsealed', `${found.hasOriginal ? 'an original' : `${found.files} file(s)`} without a manifest`)
  const key = manifestKey(found.accountId, found.recordingId)
  const bytes = await readSmall(store, key, largestManifestBytes, signal).catch((error: unknown) => {
    if (!(error instanceof ReelkeepError) || error.kind === 'unavailable' || error.code === 'store_misconfigured')
      throw error
    return error.message
  })
  if (typeof bytes === 'string') return refused('broken_manifest', bytes)
  if (bytes === null) return refused('broken_manifest', `it is larger than ${largestManifestBytes} bytes`)
  const text = textOf(bytes)
  if (text === null) return refused('broken_manifest', 'it is no UTF-8 text')
  const reading = readManifest(text, found)
  if (!reading.ok) return refused('broken_manifest', reading.reason)
  for (const file of reading.manifest.files) {
    signal?.throwIfAborted()
    const fault = await findFault(store, file, { sizeOnly: fast, ...(signal === undefined ? {} : { signal }) })
    if (fault !== null) return refused('broken_files', fault)
  }
  return {
    manifest: reading.manifest,
    manifestSha256: sha256Of(bytes),
    manifestBytes: bytes.length,
    verified: !fast,
  }
}

function textOf(bytes: Buffer): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return null
  }
}

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
