import { sql } from 'kysely'
import { ReelkeepError } from '../domain/errors.ts'
import { failpoint } from '../failpoints/failpoint.ts'
import type { ActivityDeps } from './deps.ts'
import type { RecordingRef } from './records.ts'

/** What people decide about a deposit that could not be taken in. Its source stays where it is, whatever they decide. */
export function createQuarantineActivities({ db, stores }: Pick<ActivityDeps, 'db' | 'stores'>) {
  return {
    /** A person gave the deposit up. Its reason stays readable. */
    async refuseDeposit(ref: RecordingRef): Promise<void> {
      await db.asAccount(ref.accountId, (tx) =>
        tx
          .updateTable('deposits')
          .set({ state: 'refused', settled_at: sql<Date>`now()` })
          .where('id', '=', ref.recordingId)
          .where('state', 'in', ['complete', 'quarantined'])
          .execute(),
      )
      await failpoint('refuse.after-row')
    },

    /** The file was mended or replaced under its old name: from here on the deposit means the file that is there now. */
    async reviseDeposit(ref: RecordingRef): Promise<void> {
      const deposit = await db.asAccount(ref.accountId, (tx) =>
        tx.selectFrom('deposits').selectAll().where('id', '=', ref.recordingId).executeTakeFirstOrThrow(),
      )
      const { store, name } = await stores.open(ref.accountId, deposit.inbox_id)
      const found = await store.stat(deposit.path)
      if (found === null)
        throw new ReelkeepError(
          'vanished',
          `${deposit.path} is no longer in inbox ${name}. Put the mended file there under the same name, then replace again.`,
        )
      await db.asAccount(ref.accountId, async (tx) => {
        // A look may have seen the new file first and made it a deposit of its own: then that one is the replacement.
        const other = await tx
          .selectFrom('deposits')
          .select('id')
          .where('inbox_id', '=', deposit.inbox_id)
          .where('path', '=', deposit.path)
          .where('id', '!=', deposit.id)
          .where('size_bytes', '=', String(found.sizeBytes))
          .where('mtime_ms', '=', String(Math.floor(found.modifiedAtMs)))
          .executeTakeFirst()
        if (other !== undefined) return
        await tx
          .updateTable('deposits')
          .set({ size_bytes: found.sizeBytes, mtime_ms: Math.floor(found.modifiedAtMs), file_id: found.fileId })
          .where('id', '=', deposit.id)
          .execute()
      })
    },
  }
}
