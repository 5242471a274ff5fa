import { sql } from 'kysely'
import type { AccountTx } from '../../db/connect.ts'

/**
 * The recording that the file at this path became, the newest where a name was used again; `null` where there is none.
 * Mails carry whatever the recorder called it: a bare name, a path below the inbox, or an absolute one.
 */
export async function findDepositByPath(
  tx: AccountTx,
  mediapath: string,
  recorderId: string | null,
): Promise<string | null> {
  const path = mediapath.replaceAll('\u0000', '')
  if (path === '') return null
  const ending = `/${path}`
  const row = await tx
    .selectFrom('deposits')
    .select('recording_id')
    .where('recording_id', 'is not', null)
    .where(
      sql<boolean>`(path = ${path} or right(path, length(${ending})) = ${ending} or right(${path}, length(path) + 1) = '/' || path)`,
    )
    .$if(recorderId !== null, (query) => query.where('recorder_id', '=', recorderId))
    .orderBy('first_seen_at', 'desc')
    .orderBy('id', 'desc')
    .executeTakeFirst()
  return row?.recording_id ?? null
}
