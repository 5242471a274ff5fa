import { decideCommand } from '../../domain/commands.ts'
import type { Actor } from '../../domain/permissions.ts'
import type { ProblemOption, RecordingDetail } from '../../domain/recording.ts'
import { PostForm } from './elements.tsx'
import { commandUrl } from './links.ts'
import { optionLabels } from '../../domain/wording.ts'

const looks: Readonly<Partial<Record<ProblemOption, 'danger' | 'quiet'>>> = {
  skip: 'quiet',
  replace: 'quiet',
  give_up: 'danger',
}

/** Retry, skip, replace, give up: whatever this problem offers, where this person may decide. */
export function ProblemButtons({
  recording,
  actor,
  nowMs,
  back,
}: {
  recording: Pick<RecordingDetail, 'id' | 'facts' | 'problem'>
  actor: Actor
  nowMs: number
  back: string
}) {
  if (recording.problem === null) return null
  return (
    <div class="commands">
      {recording.problem.options.map((option) => {
        const verdict = decideCommand(recording.facts, { kind: 'resolve', option }, actor, nowMs)
        return (
          <PostForm action={commandUrl(recording.id)} label={optionLabels[option]}>
            <input type="hidden" name="kind" value="resolve" />
            <input type="hidden" name="option" value={option} />
            <input type="hidden" name="back" value={back} />
            <button class={looks[option]} disabled={!verdict.ok} title={verdict.ok ? undefined : verdict.message}>
              {optionLabels[option]}
            </button>
          </PostForm>
        )
      })}
    </div>
  )
}
