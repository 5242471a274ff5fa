import { randomUUID } from 'node:crypto'
import type { Child } from 'hono/jsx'
import type { Problem, Waiting } from '../../domain/recording.ts'
import { describeDistance, describeInstant, stageLabels } from '../../domain/wording.ts'
import type { Label } from '../../domain/wording.ts'

/** A state as a coloured badge; the word says the same as the colour. */
export function Badge({ label }: { label: Label }) {
  return <span class={`badge tone-${label.tone}`}>{label.text}</span>
}

/** An instant: absolute, and how far away it is on the clock that counts for it. */
export function When({ atMs, nowMs }: { atMs: number; nowMs?: number }) {
  return (
    <span class="when">
      <time datetime={new Date(atMs).toISOString()}>{describeInstant(atMs)}</time>
      {nowMs === undefined ? null : <span class="distance"> ({describeDistance(atMs, nowMs)})</span>}
    </span>
  )
}

/** A hash or id: shown short, selected whole with one click, whole in the title too. */
export function Hash({ value }: { value: string }) {
  return (
    <code class="hash" title={value}>
      {value}
    </code>
  )
}

/** What it waits for, what happens by itself, and when: the answer every waiting thing owes. */
export function Next({ waiting, nowMs }: { waiting: Waiting; nowMs: number }) {
  if (waiting.waitingFor === '' && waiting.nextStep === '') return null
  return (
    <p class="next">
      {waiting.waitingFor === '' ? null : <span class="waiting-for">Waits for {waiting.waitingFor}</span>}
      {waiting.nextStep === '' ? null : <span class="next-step"> → {waiting.nextStep}</span>}
      {waiting.nextAtMs === null ? null : (
        <>
          {' '}
          <When atMs={waiting.nextAtMs} nowMs={nowMs} />
        </>
      )}
    </p>
  )
}

/** Why something needs attention: stage, reason, attempts, since, and what happens by itself. */
export function ProblemFacts({ problem, nowMs }: { problem: Problem; nowMs: number }) {
  return (
    <>
      <p class="problem-message">{problem.message}</p>
      <dl class="facts">
        <div>
          <dt>Step</dt>
          <dd>
            {stageLabels[problem.stage]} <code>{problem.code}</code>
          </dd>
        </div>
        <div>
          <dt>Attempts</dt>
          <dd>{problem.attempts}</dd>
        </div>
        <div>
          <dt>Since</dt>
          <dd>
            <When atMs={problem.sinceMs} nowMs={nowMs} />
          </dd>
        </div>
        <div>
          <dt>Next automatic try</dt>
          <dd>
            {problem.nextRetryAtMs === null ? (
              'none: a person decides'
            ) : (
              <When atMs={problem.nextRetryAtMs} nowMs={nowMs} />
            )}
          </dd>
        </div>
      </dl>
    </>
  )
}

/** A form that changes something. Its hidden id makes a double click, or a repeated send, count once. */
export function PostForm({ action, label, children }: { action: string; label?: string; children: Child }) {
  return (
    <form method="post" action={action} class="command" aria-label={label}>
      <input type="hidden" name="requestId" value={randomUUID()} />
      {children}
    </form>
  )
}

/** A labelled text field. */
export function Field(props: {
  name: string
  label: string
  value?: string
  type?: 'text' | 'date' | 'password' | 'number'
  required?: boolean
  hint?: string
  maxLength?: number
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <input
        type={props.type ?? 'text'}
        name={props.name}
        value={props.value ?? ''}
        required={props.required ?? false}
        maxlength={props.maxLength ?? 500}
        autocomplete="off"
      />
      {props.hint === undefined ? null : <small>{props.hint}</small>}
    </label>
  )
}

/** A labelled choice. */
export function Choice(props: {
  name: string
  label: string
  options: readonly { readonly value: string; readonly text: string }[]
  selected?: string
}) {
  return (
    <label class="field">
      <span>{props.label}</span>
      <select name={props.name}>
        {props.options.map((option) => (
          <option value={option.value} selected={option.value === props.selected}>
            {option.text}
          </option>
        ))}
      </select>
    </label>
  )
}

/**
 * A part of a page that stays up to date by itself. Without JavaScript it is as fresh as the page. `seen` names what is
 * shown: the server answers 204 while nothing changed, so nothing blinks, no typed word is lost and nothing is read out
 * twice. `settled` parts never change again and ask for nothing.
 */
export function Polled(props: {
  id: string
  url: string
  seen: string
  everySeconds?: number
  settled?: boolean
  children: Child
}) {
  if (props.settled === true) return <div id={props.id}>{props.children}</div>
  const url = `${props.url}${props.url.includes('?') ? '&' : '?'}part=${props.id}&seen=${props.seen}`
  return (
    <div id={props.id} hx-get={url} hx-trigger={`every ${props.everySeconds ?? 3}s`} hx-swap="outerHTML">
      {props.children}
    </div>
  )
}
