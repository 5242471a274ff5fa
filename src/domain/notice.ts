/** Occasions on which people are mailed. */
export type NoticeKind = 'claim_wanted' | 'claim_reminder' | 'claim_escalation' | 'retention_ending' | 'approval_wanted'

/** What a mail says of its recording. */
export interface NoticeFacts {
  readonly title: string
  readonly recorderName: string
  readonly link: string
  readonly retainUntilMs: number | null
}

const texts: Readonly<Record<NoticeKind, { subject: string; lines: readonly string[]; action: string }>> = {
  claim_wanted: {
    subject: 'New recording: {title}',
    lines: [
      'A recording has arrived from the recorder "{recorder}".',
      'Claim it, hand it to somebody, or say that it is not yours.',
    ],
    action: 'Open the recording',
  },
  claim_reminder: {
    subject: 'Still unclaimed: {title}',
    lines: [
      'A recording from the recorder "{recorder}" still waits for an owner.',
      'Nothing was deleted; without an owner it is not published.',
    ],
    action: 'Open the recording',
  },
  claim_escalation: {
    subject: 'Nobody claims: {title}',
    lines: [
      'A recording from the recorder "{recorder}" has waited for an owner for a long time.',
      'As an administrator you can assign it.',
    ],
    action: 'Assign it',
  },
  retention_ending: {
    subject: 'Retention ends: {title}',
    lines: [
      'The retention of a recording from "{recorder}" ends on {until}.',
      'Extend it if it is still needed. Nothing is deleted without an approval.',
    ],
    action: 'See its plan',
  },
  approval_wanted: {
    subject: 'Deletion to approve: {title}',
    lines: [
      'The retention of a recording from "{recorder}" has ended and its deletion waits for an approval.',
      'After an approval there is still time to undo it.',
    ],
    action: 'Decide',
  },
}

/** The mail of one occasion, in text and HTML. Titles come from outside: they lose line breaks in the subject and are escaped in HTML. */
export function composeNotice(kind: NoticeKind, facts: NoticeFacts): { subject: string; text: string; html: string } {
  const { subject, lines, action } = texts[kind]
  const until =
    facts.retainUntilMs === null ? 'a date still to be set' : new Date(facts.retainUntilMs).toISOString().slice(0, 10)
  const values: Record<string, string> = { title: oneLine(facts.title), recorder: oneLine(facts.recorderName), until }
  const fill = (text: string) => text.replace(/\{(\w+)\}/g, (_match, name: string) => values[name] ?? '')
  const said = lines.map(fill)
  const title = values['title'] ?? ''
  return {
    subject: `[Reelkeep] ${fill(subject)}`.slice(0, 200),
    text: ['Hello,', '', title, ...said, '', `${action}: ${facts.link}`, ''].join('\n'),
    html: `<p>Hello,</p><p><strong>${escapeHtml(title)}</strong></p>${said.map((line) => `<p>${escapeHtml(line)}</p>`).join('')}<p><a href="${escapeHtml(facts.link)}">${action}</a></p>`,
  }
}

function oneLine(text: string): string {
  // oxlint-disable-next-line no-control-regex -- control characters are what must go
  return text.replace(/[\u0000-\u001f\u007f\u2028\u2029]+/g, ' ').trim()
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0)};`)
}
