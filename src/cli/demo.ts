import { readdir, readFile, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { RecordingAnswer } from './answers.ts'
import type { ApiClient } from './client.ts'
import { dropLocally } from './drop.ts'
import type { Terminal } from './terminal.ts'
import { verifyCertificate } from './verify.ts'
import { hasReached, knownDeposits, watchDeposit, watchRecording } from './watch.ts'
import type { Watch } from './watch.ts'
import { ReelkeepError } from '../domain/errors.ts'
import { describeDuration, msPer } from '../domain/units.ts'
import { demoDirectories } from '../dev/first-account.ts'
import type { Home } from '../dev/home.ts'
import { writeWhole } from '../dev/processes.ts'
import { generateLecture } from '../dev/sample.ts'

/** What the demo is played with: two people at the API, and a folder to drop files into. */
export interface DemoDeps {
  readonly admin: ApiClient
  readonly approver: ApiClient
  readonly home: Home
  readonly ffmpegPath: string
  readonly fastForward: boolean
  readonly terminal: Terminal
  readonly signal: AbortSignal
}

interface Sample {
  /** Below the inbox. */
  readonly path: string
  readonly title: string
  readonly seconds: number
  readonly seed: number
}

const lifeSample: Sample = {
  path: `${demoDirectories.hallA}/welcome-to-reelkeep.mp4`,
  title: 'Welcome to Reelkeep',
  seconds: 15,
  seed: 1,
}
/** Stay alive to play with: one waits to be claimed, one is kept. */
const stayingSamples: readonly Sample[] = [
  { path: `${demoDirectories.room12}/seminar-unclaimed.mp4`, title: 'Seminar', seconds: 12, seed: 2 },
  { path: `${demoDirectories.hallA}/lecture-kept.mp4`, title: 'Lecture', seconds: 12, seed: 3 },
]

const limits = (signal: AbortSignal) => ({ signal, stuckAfterMs: 3 * msPer.minute })

/**
 * Plays one recording's whole life in front of the person at the terminal: dropped, encoded, kept in two sites, its years,
 * its deletion, its certificate. Continues a life that an earlier start began; one that was seen whole is not played
 * again. Returns why the end was not reached, or null.
 * @throws what the API refuses
 */
export async function playDemo(deps: DemoDeps): Promise<string | null> {
  const { admin, terminal } = deps
  const before = await findRecording(deps, lifeSample)
  if (before !== null && before.state === 'purged') {
    const { problem } = await proveDeletion(deps, before.id)
    terminal.say(
      `The demo's first recording has lived its life. Its certificate (${problem ?? 'verified again'}): ${certificateFile(deps, before.id)}`,
    )
    return problem
  }
  terminal.say('The demo: one lecture, from its first byte to the proof of its deletion. Times are UTC.')
  const id = before?.id ?? (await dropSample(deps, lifeSample))
  if (id === null) return 'the sample was not taken in; see `reelkeep deposits`.'
  const watch: Watch = { recordingId: id, toldSeq: 0 }
  const kept = await watchRecording(admin, watch, (now) => hasReached(now, 'retained'), terminal, limits(deps.signal))
  await tellKept(deps, kept)
  if (!deps.fastForward)
    return 'on these servers no clock is moved, so the years do not pass here (only a stack that brings its own Postgres and Temporal 1.9 does that). The recording stays under retention.'
  await passYears(deps, watch, kept)
  const { problem, output } = await proveDeletion(deps, id)
  terminal.say(`The certificate, verified with scripts/verify-certificate.mjs:\n${output}`)
  return problem
}

/** Drops the samples that stay, where an earlier start did not. Returns at once: they are processed while it runs. */
export async function ensureSamples(deps: DemoDeps): Promise<void> {
  for (const sample of stayingSamples) {
    if ((await knownDeposits(deps.admin, sample.path)).size > 0) continue
    await putSample(deps, sample)
    deps.terminal.say(`Dropped another sample into ${dirname(sample.path)}: ${basename(sample.path)}`)
  }
}

async function dropSample(deps: DemoDeps, sample: Sample): Promise<string | null> {
  const { admin, terminal, signal } = deps
  terminal.say(`Generating a lecture of ${sample.seconds} s and dropping it into the recorder's inbox…`)
  await putSample(deps, sample)
  const deposit = await watchDeposit(admin, sample.path, new Set(), terminal, limits(signal))
  return deposit.recordingId
}

/** Generated outside the inbox, then dropped like a recorder does. A killed start may have dropped it already. */
async function putSample({ home, ffmpegPath }: DemoDeps, sample: Sample): Promise<void> {
  const target = join(home.inboxDir, sample.path)
  if ((await stat(target).catch(() => null)) !== null) return
  const draft = join(home.scratchDir, `sample-${sample.seed}.mp4`)
  try {
    await generateLecture(draft, { ffmpegPath, seconds: sample.seconds, title: sample.title, seed: sample.seed })
    await dropLocally(draft, target)
  } finally {
    await rm(draft, { force: true })
  }
}

async function findRecording({ admin }: DemoDeps, sample: Sample): Promise<RecordingAnswer | null> {
  const deposits = await admin.list<{ path: string; recordingId: string | null }>('/deposits', {}, 500)
  const id = deposits.find((deposit) => deposit.path === sample.path && deposit.recordingId !== null)?.recordingId
  return id === undefined || id === null ? null : admin.get<RecordingAnswer>(`/recordings/${id}`)
}

async function tellKept({ home, terminal }: DemoDeps, kept: RecordingAnswer): Promise<void> {
  const sites = new Set(
    kept.copies.filter((copy) => copy.state === 'verified' && copy.role !== 'inbox').map((copy) => copy.site),
  )
  const source = await stat(join(home.inboxDir, lifeSample.path)).catch(() => null)
  const inbox = source === null ? 'the source has left the inbox' : 'the source is still in the inbox'
  terminal.say(`  ${kept.files.length} files, verified in ${[...sites].join(' and ')}; ${inbox}`)
  if (kept.plan !== null)
    terminal.say(`  Kept until ${new Date(kept.plan.retainUntilMs).toISOString().slice(0, 10)}: ${kept.plan.reason}`)
}

/** The clock of this one recording moves; everything else in the system stays in the present. */
async function passYears(deps: DemoDeps, watch: Watch, kept: RecordingAnswer): Promise<void> {
  const { admin, approver, terminal, signal } = deps
  let now = kept
  if (!hasReached(now, 'disposition_requested')) {
    now = await passTime(deps, watch, now, (now.plan?.retainUntilMs ?? 0) + msPer.day, 'disposition_requested')
  }
  if (now.state === 'disposition_requested' && now.disposition !== null) {
    terminal.say(`  Retention is over; deletion was requested: ${now.disposition.reason}`)
    terminal.say('  Ben reads the plan and approves it, as the second person…')
    await approver.post(`/recordings/${watch.recordingId}/approve-deletion`, { planHash: now.disposition.planHash })
    now = await watchRecording(admin, watch, (each) => hasReached(each, 'trashed'), terminal, limits(signal))
  }
  if (now.disposition?.undoUntilMs) await passTime(deps, watch, now, now.disposition.undoUntilMs + msPer.hour, 'purged')
}

/** Moves the recording's clock to an instant of its own time and tells what comes due on the way. */
async function passTime(
  deps: DemoDeps,
  watch: Watch,
  from: RecordingAnswer,
  untilMs: number,
  state: RecordingAnswer['state'],
): Promise<RecordingAnswer> {
  const { admin, terminal, signal } = deps
  const mailBefore = await listMail(deps)
  const durationMs = Math.max(1, Math.ceil(untilMs - (Date.now() + from.clockOffsetMs)))
  if (hasReached(from, state)) return from
  terminal.say(`  … ${describeDuration(durationMs)} pass for this recording …`)
  const arrived = admin.post(`/recordings/${watch.recordingId}/fast-forward`, { durationMs })
  const failed = arrived.then(
    () => new Promise<never>(() => undefined),
    (error: unknown) => Promise.reject(asError(error)),
  )
  const watched = watchRecording(admin, watch, (now) => hasReached(now, state), terminal, limits(signal))
  const after = await Promise.race([watched, failed])
  await arrived
  for (const mail of (await listMail(deps)).filter((name) => !mailBefore.includes(name)))
    terminal.say(`  Mail ${await describeMail(deps, mail)}`)
  return after
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new ReelkeepError('internal', String(error))
}

/** Oldest first. */
async function listMail({ home }: DemoDeps): Promise<readonly string[]> {
  const names = (await readdir(home.mailDir).catch(() => [])).filter((name) => name.endsWith('.eml'))
  const dated = await Promise.all(
    names.map(async (name) => ({ name, writtenMs: (await stat(join(home.mailDir, name))).mtimeMs })),
  )
  return dated.sort((a, b) => a.writtenMs - b.writtenMs).map(({ name }) => name)
}

async function describeMail({ home }: DemoDeps, name: string): Promise<string> {
  const text = await readFile(join(home.mailDir, name), 'utf8')
  const field = (wanted: string) =>
    new RegExp(`^${wanted}: (.*(?:\\r?\\n[ \\t].*)*)`, 'im').exec(text)?.[1]?.replaceAll(/\r?\n[ \t]+/g, ' ')
  return `to ${field('To') ?? '?'}: ${field('Subject') ?? name}`
}

function certificateFile({ home }: DemoDeps, id: string): string {
  return join(home.certificatesDir, `${id}.json`)
}

/** Fetches the certificate, keeps it as a file, and has the published script verify it against this keeper's key. */
async function proveDeletion(deps: DemoDeps, id: string): Promise<{ problem: string | null; output: string }> {
  const { admin, home } = deps
  const file = certificateFile(deps, id)
  await writeWhole(file, `${JSON.stringify(await admin.get(`/recordings/${id}/certificate`), null, 2)}\n`)
  const { exitCode, output } = await verifyCertificate(file, { keyFile: home.publicKeyFile })
  return { problem: exitCode === 0 ? null : `its certificate does not hold (${file})`, output }
}
