import type { Child } from 'hono/jsx'
import type { CommandKind } from '../../domain/commands.ts'
import { Choice, Field, PostForm } from './elements.tsx'
import { commandUrl } from './links.ts'
import { commandLabels } from '../../domain/wording.ts'

/** Somebody who can own recordings. */
export interface Person {
  readonly id: string
  readonly name: string
}

/** One command as a form: a single button, or a fold with the fields it needs (`open` = without the fold). */
export function CommandForm(props: {
  id: string
  kind: CommandKind
  back?: string
  fields?: Child
  look?: 'danger' | 'quiet'
  open?: boolean
}) {
  const label = commandLabels[props.kind]
  const form = (
    <PostForm action={commandUrl(props.id)} label={label}>
      <input type="hidden" name="kind" value={props.kind} />
      {props.back === undefined ? null : <input type="hidden" name="back" value={props.back} />}
      {props.fields}
      <button class={props.look}>{label}</button>
    </PostForm>
  )
  if (props.fields === undefined || props.open === true) return form
  return (
    <details class="command-fold">
      <summary>{commandLabels[props.kind]}…</summary>
      {form}
    </details>
  )
}

/** Who shall own it. */
export function OwnerChoice({ people, selected }: { people: readonly Person[]; selected: string | null }) {
  return (
    <Choice
      name="ownerId"
      label="Owner"
      options={people.map((person) => ({ value: person.id, text: person.name }))}
      {...(selected === null ? {} : { selected })}
    />
  )
}

/** Why: it is kept in the timeline. */
export function ReasonField() {
  return <Field name="reason" label="Reason" required />
}
