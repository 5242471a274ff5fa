/*
 * What the product promises about names and states, written down a second time on purpose: were these imported, a
 * mistake there would be a mistake here, too.
 */

/** The allowed edges of a recording's life, as the README draws them. */
export const edges: ReadonlySet<string> = new Set([
  'accepted>awaiting_claim',
  'accepted>claimed',
  'awaiting_claim>claimed',
  'awaiting_claim>disposition_requested',
  'claimed>awaiting_claim',
  'claimed>encoding',
  'encoding>archiving',
  'archiving>protected',
  'protected>retained',
  'retained>disposition_requested',
  'disposition_requested>retained',
  'disposition_requested>awaiting_claim',
  'disposition_requested>approved',
  'approved>retained',
  'approved>awaiting_claim',
  'approved>trashed',
  'trashed>retained',
  'trashed>awaiting_claim',
  'trashed>purging',
  'purging>purged',
])

/** Every state of a recording. */
export const recordingStates: ReadonlySet<string> = new Set([...edges].flatMap((edge) => edge.split('>')))

/** States in which a recording rests until a date or a person comes. */
export const restingStates: ReadonlySet<string> = new Set([
  'awaiting_claim',
  'retained',
  'disposition_requested',
  'trashed',
])

/** States of a deposit whose file may still become a recording. */
export const liveDepositStates: ReadonlySet<string> = new Set(['arriving', 'stalled', 'orphan', 'complete'])

/** Commands that leave a row in the audit trail when they were accepted. */
export const auditedCommands: ReadonlySet<string> = new Set([
  'claim',
  'assign',
  'notMine',
  'hold',
  'release',
  'extend',
  'requestDeletion',
  'approveDeletion',
  'rejectDeletion',
  'undo',
  'replan',
  'cancelEncode',
])

/** True for what a store keeps beside its objects and no reader ever sees: unfinished puts, and its access check. */
export function isUnfinishedPut(key: string): boolean {
  return key.startsWith('.tmp/') || key.startsWith('.reelkeep-check-')
}

const uuid = '[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}'
const packageKey = new RegExp(`^(${uuid})/(${uuid})/(.+)$`)

/** Whose object a key names, or `null` where it is no recording's. */
export function ownerOfKey(key: string): { accountId: string; recordingId: string; name: string } | null {
  const [, accountId, recordingId, name] = packageKey.exec(key) ?? []
  return accountId === undefined || recordingId === undefined || name === undefined
    ? null
    : { accountId, recordingId, name }
}

/** Every identifier that a text contains. */
export function identifiersIn(text: string): string[] {
  return text.match(new RegExp(uuid, 'g')) ?? []
}
