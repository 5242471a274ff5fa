import type { Context } from 'hono'
import { z } from 'zod'
import type { Command } from '../../domain/commands.ts'
import { ReelkeepError } from '../../domain/errors.ts'
import { isSafeKey } from '../../storage/store.ts'
import type { AppEnv } from '../env.ts'
import { textSchema } from '../requests.ts'

const id = z.guid('is not one of the choices')
/** An empty field means "as it is", not "empty it". */
const optionalTitle = z.preprocess((value) => (value === '' ? undefined : value), textSchema(300).optional())
const reason = textSchema(500)
const optionalId = z.preprocess((value) => (value === '' ? null : value), id.nullable())

const commandSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('claim'), title: optionalTitle }),
  z.object({ kind: z.literal('assign'), ownerId: id, title: optionalTitle }),
  z.object({ kind: z.literal('notMine') }),
  z.object({ kind: z.literal('hold'), reason }),
  z.object({ kind: z.literal('release'), holdId: id }),
  z.object({ kind: z.literal('extend'), until: z.iso.date('is not a date'), reason }),
  z.object({ kind: z.literal('requestDeletion'), reason }),
  z.object({ kind: z.literal('approveDeletion'), planHash: z.string().max(200) }),
  z.object({ kind: z.literal('rejectDeletion'), reason }),
  z.object({ kind: z.literal('undo') }),
  z.object({ kind: z.literal('replan') }),
  z.object({ kind: z.literal('cancelEncode') }),
  z.object({ kind: z.literal('resolve'), option: z.enum(['retry', 'skip', 'replace', 'give_up']) }),
])

const describeSchema = z.object({
  was: z.string().max(100),
  title: textSchema(300),
  description: textSchema(10_000, 0),
  tags: z
    .string()
    .max(1000)
    .transform(splitTags)
    .pipe(z.array(textSchema(60)).max(50)),
})

const recorderSchema = z.object({
  name: textSchema(200),
  description: textSchema(1000, 0),
  inboxId: id,
  directory: textSchema(500).refine(isSafeKey, 'is relative to the inbox, without "..", empty parts or backslashes'),
  assignment: z.enum(['manager', 'claim', 'automatic']),
  managerId: optionalId,
  defaultOwnerId: optionalId,
})

const daysSchema = z.object({ days: z.coerce.number().int().min(1).max(3660) })
const signInSchema = z.object({ key: z.string().min(1).max(500), next: z.string().max(2000).optional() })
/** Derived from a form that was rendered once: the same form sent twice carries the same one. */
const requestIdSchema = z.object({ requestId: z.guid(), back: z.string().max(2000).optional() })

/** The command a form holds. @throws invalid_request */
export function readCommand(form: FormFields): Command {
  const read = readForm(commandSchema, form)
  if (read.kind === 'extend') return { kind: 'extend', untilMs: Date.parse(read.until), reason: read.reason }
  if (read.kind === 'claim' || read.kind === 'assign') {
    const { title, ...rest } = read
    return title === undefined ? rest : { ...rest, title }
  }
  return read
}

/** New title, description and tags, and what the form was filled with. @throws invalid_request */
export function readDescription(form: FormFields) {
  return readForm(describeSchema, form)
}

/** A recorder to set up. @throws invalid_request */
export function readRecorder(form: FormFields) {
  return readForm(recorderSchema, form)
}

/** How far to let a recording's time pass. @throws invalid_request */
export function readDays(form: FormFields): number {
  return readForm(daysSchema, form).days
}

/** The key that somebody signs in with. @throws invalid_request */
export function readSignIn(form: FormFields) {
  return readForm(signInSchema, form)
}

/** The id that makes a form count once, and where to go afterwards. @throws invalid_request */
export function readRequest(form: FormFields) {
  return readForm(requestIdSchema, form)
}

/** A form's fields by name. */
export type FormFields = Readonly<Record<string, unknown>>

/** The fields of a form that was sent. */
export async function formOf(c: Context<AppEnv>): Promise<FormFields> {
  return c.req.parseBody()
}

function readForm<T extends z.ZodType>(schema: T, form: FormFields): z.output<T> {
  const result = schema.safeParse(form)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const field = issue?.path.map(String).join('.') ?? ''
  throw new ReelkeepError(
    'invalid_request',
    `The form was not accepted: ${field === '' ? '' : `"${field}": `}${issue?.message ?? 'something is missing'}. Go back, correct it and send it again.`,
  )
}

function splitTags(text: string): string[] {
  const tags = text.split(',').map((tag) => tag.trim())
  return [...new Set(tags.filter((tag) => tag !== ''))]
}
