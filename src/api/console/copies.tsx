import type { CopyView, RecordingDetail } from '../../domain/recording.ts'
import { describeBytes } from '../../domain/units.ts'
import { Badge, Hash, When } from './elements.tsx'
import { fileUrl } from './links.ts'
import { isGone } from './player.tsx'
import { describeLength } from '../../domain/wording.ts'
import type { Label } from '../../domain/wording.ts'

const copyLabels: Readonly<Record<CopyView['state'], Label>> = {
  stored: { text: 'Stored, not read back yet', tone: 'work' },
  verified: { text: 'Verified', tone: 'good' },
  failed: { text: 'Does not match', tone: 'bad' },
  purged: { text: 'Deleted', tone: 'gone' },
}

const roleWords: Readonly<Record<CopyView['role'], string>> = {
  inbox: 'inbox',
  primary: 'primary store',
  backup: 'backup store',
}

/** Which copies stand where, and when each was last read back: one table per store. */
export function Copies({ copies }: { copies: readonly CopyView[] }) {
  const stores = groupByStore(copies)
  return (
    <section class="box" aria-labelledby="copies-title">
      <h2 id="copies-title">Copies</h2>
      {stores.length === 0 ? <p class="empty">No copy was made yet: the bytes are still in the inbox.</p> : null}
      {stores.map((store) => (
        <StoreCopies copies={store} />
      ))}
    </section>
  )
}

function groupByStore(copies: readonly CopyView[]): readonly (readonly CopyView[])[] {
  const names = [...new Set(copies.map((copy) => copy.storeName))]
  return names.map((name) => copies.filter((copy) => copy.storeName === name))
}

function StoreCopies({ copies }: { copies: readonly CopyView[] }) {
  const first = copies[0]
  if (first === undefined) return null
  const bytes = copies.reduce((sum, copy) => sum + copy.sizeBytes, 0)
  const counts = (['verified', 'stored', 'failed', 'purged'] as const).flatMap((state) => {
    const count = copies.filter((copy) => copy.state === state).length
    return count === 0
      ? []
      : [{ tone: copyLabels[state].tone, text: `${count} ${copyLabels[state].text.toLowerCase()}` }]
  })
  const unasked = copies.filter((copy) => copy.checkResult === 'could_not_run' && copy.state !== 'purged').length
  return (
    <div class="store">
      <h3>
        {first.storeName}{' '}
        <span class="muted">
          at {first.site} · {roleWords[first.role]} · {describeBytes(bytes)}
        </span>
      </h3>
      <p class="badges">
        {counts.map((label) => (
          <Badge label={label} />
        ))}
        {unasked === 0 ? null : <Badge label={{ tone: 'wait', text: `${unasked} could not be checked` }} />}
      </p>
      <details>
        <summary>
          {copies.length} {copies.length === 1 ? 'file' : 'files'}
        </summary>
        <table>
          <thead>
            <tr>
              <th scope="col">File</th>
              <th scope="col">Size</th>
              <th scope="col">State</th>
              <th scope="col">Last check</th>
              <th scope="col">SHA-256</th>
            </tr>
          </thead>
          <tbody>
            {copies.map((copy) => (
              <CopyRow copy={copy} />
            ))}
          </tbody>
        </table>
      </details>
    </div>
  )
}

function CopyRow({ copy }: { copy: CopyView }) {
  const atMs = copy.purgedAtMs ?? copy.verifiedAtMs
  return (
    <tr>
      <td data-label="File">
        <span title={copy.key}>{copy.fileName}</span>
      </td>
      <td data-label="Size">{describeBytes(copy.sizeBytes)}</td>
      <td data-label="State">
        {copyLabels[copy.state].text}
        {atMs === null ? null : (
          <>
            , <When atMs={atMs} />
          </>
        )}
      </td>
      <td data-label="Last check">
        <LastCheck copy={copy} />
      </td>
      <td data-label="SHA-256">
        <Hash value={copy.sha256} />
      </td>
    </tr>
  )
}

const checkWords: Readonly<Record<NonNullable<CopyView['checkResult']>, string>> = {
  ok: 'Good',
  failed: 'Bad',
  could_not_run: 'Could not run',
}

/** When a copy was last read again and what that showed; what is not good says since when, and why. */
function LastCheck({ copy }: { copy: CopyView }) {
  if (copy.checkResult === null || copy.checkedAtMs === null) return <span class="muted">not yet</span>
  return (
    <>
      {checkWords[copy.checkResult]}, <When atMs={copy.checkedAtMs} />
      {copy.mending ? ' · being made again' : null}
      {copy.checkResult === 'ok' || copy.checkSinceMs === null ? null : (
        <span class="muted">
          {' '}
          since <When atMs={copy.checkSinceMs} />
          {copy.checkNote === null ? '' : `: ${copy.checkNote}`}
        </span>
      )}
    </>
  )
}

/** The files people can take away: the original and what was made from it (pieces of a stream are counted, not listed). */
export function Files({ recording }: { recording: RecordingDetail }) {
  const listed = recording.files.filter((file) => file.kind !== 'hls' || file.name.endsWith('master.m3u8'))
  const pieces = recording.files.length - listed.length
  const gone = isGone(recording.state)
  return (
    <section class="box" aria-labelledby="files-title">
      <h2 id="files-title">Files</h2>
      {recording.encodePlan === null ? null : <p class="muted">{recording.encodePlan.reason}</p>}
      {listed.length === 0 ? <p class="empty">Nothing was stored yet.</p> : null}
      <ul class="plain files">
        {listed.map((file) => (
          <li>
            {gone ? <span>{file.name}</span> : <a href={fileUrl(recording.id, file.id)}>{file.name}</a>}{' '}
            <span class="muted">
              {describeBytes(file.sizeBytes)}
              {file.widthPx === null || file.heightPx === null ? '' : ` · ${file.widthPx}×${file.heightPx}`}
              {file.durationMs === null ? '' : ` · ${describeLength(file.durationMs)}`}
            </span>
          </li>
        ))}
      </ul>
      {pieces === 0 ? null : (
        <p class="muted">
          and {pieces} {pieces === 1 ? 'piece' : 'pieces'} of the stream
        </p>
      )}
    </section>
  )
}
