import { sql } from 'kysely'
import { writeAudit } from '../db/audit.ts'
import { lockFacts } from '../db/facts.ts'
import type { AccountTx } from '../db/connect.ts'
import type { RecordingFacts } from '../domain/recording.ts'
import { composeNotice } from '../domain/notice.ts'
import type { NoticeKind } from '../domain/notice.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/** Finding an owner: by rule at once, or by telling people and waiting. */
export function createClaimActivities({ db, notifier, baseUrl }: Pick<ActivityDeps, 'db' | 'notifier' | 'baseUrl'>) {
  return {
    /** Opens the claim: straight to the default owner, or waiting for people. Later runs find it opened. */
    async openClaim(ref: RecordingRef): Promise<void> {
      await db.asAccount(
        ref.accountId,
        async (tx) => {
          const facts = await lockFacts(tx, ref.recordingId)
          if (facts?.state !== 'accepted') return
          const owner = facts.assignment === 'automatic' ? (facts.defaultOwnerId ?? facts.managerId) : null
          await tx
            .updateTable('recordings')
            .set(owner === null ? { state: 'awaiting_claim' } : { state: 'claimed', owner_id: owner })
            .where('id', '=', ref.recordingId)
            .execute()
          await failpoint('claim.before-commit')
        },
        { actor: 'system' },
      )
      await failpoint('claim.after-commit')
    },

    /**
     * Mails everyone this occasion concerns, each person once: who was told is written down right after the mail was
     * handed over, and a mail that had to be sent again carries the same id. Returns how many people were told now.
     */
    async sendNotice(ref: RecordingRef, kind: NoticeKind, occasion: string): Promise<number> {
      const { people, told, mail } = await db.asAccount(ref.accountId, (tx) =>
        prepareNotice(tx, ref, kind, occasion, baseUrl),
      )
      let sent = 0
      for (const person of people) {
        if (told.has(person.email)) continue
        await failpoint('notice.before-send')
        await notifier.send({
          ...mail,
          to: person,
          messageId: `${kind}.${occasion}.${person.id}.${ref.recordingId}@reelkeep`,
        })
        await failpoint('notice.after-send')
        await db.asAccount(ref.accountId, async (tx) => {
          await tx
            .insertInto('notices')
            .values({
              account_id: ref.accountId,
              recording_id: ref.recordingId,
              kind,
              occasion,
              recipient: person.email,
            })
            .onConflict((conflict) => conflict.doNothing())
            .execute()
          await writeAudit(tx, ref.recordingId, 'system', `notice.${kind}`, { to: person.name, occasion })
        })
        await failpoint('notice.after-row')
        sent += 1
      }
      return sent
    },
  }
}

async function prepareNotice(tx: AccountTx, ref: RecordingRef, kind: NoticeKind, occasion: string, baseUrl: string) {
  const row = await tx
    .selectFrom('recordings as r')
    .innerJoin('recorders as d', 'd.id', 'r.recorder_id')
    .select(['r.title', 'r.owner_id', 'r.retain_until', 'd.name as recorder_name', 'd.manager_id'])
    .where('r.id', '=', ref.recordingId)
    .executeTakeFirstOrThrow()
  const told = await tx
    .selectFrom('notices')
    .select('recipient')
    .where('recording_id', '=', ref.recordingId)
    .where('kind', '=', kind)
    .where('occasion', '=', occasion)
    .execute()
  return {
    people: await listRecipients(tx, kind, { ownerId: row.owner_id, managerId: row.manager_id }),
    told: new Set(told.map((notice) => notice.recipient)),
    mail: composeNotice(kind, {
      title: row.title,
      recorderName: row.recorder_name,
      link: `${baseUrl}/recordings/${ref.recordingId}`,
      retainUntilMs: row.retain_until?.getTime() ?? null,
    }),
  }
}

/** The manager or owner hears first; escalations and requests to approve go to those who can act on them. */
async function listRecipients(tx: AccountTx, kind: NoticeKind, who: Pick<RecordingFacts, 'ownerId' | 'managerId'>) {
  const people = tx.selectFrom('people').select(['id', 'name', 'email'])
  if (kind === 'claim_escalation') return people.where(sql<boolean>`'admin' = any(roles)`).execute()
  if (kind === 'approval_wanted') return people.where(sql<boolean>`roles && array['operator', 'admin']`).execute()
  const ids = [kind.startsWith('claim') ? who.managerId : (who.ownerId ?? who.managerId)].filter((id) => id !== null)
  return ids.length === 0 ? [] : people.where('id', 'in', ids).execute()
}
