import { createHash, randomUUID } from 'node:crypto'
import { hashSecret } from '../../src/api/auth.ts'
import type { Stage, TestAccount } from '../api/stage.ts'

/** What one of two accounts that are alike has, one of everything, and a word that stands in nothing of the other. */
export interface Belongings {
  readonly recording: string
  readonly deposit: string
  readonly recorder: string
  readonly file: string
  readonly fileName: string
  readonly hold: string
  readonly disposition: string
  readonly person: string
  readonly store: string
  readonly inbox: string
  readonly key: string
  readonly path: string
  readonly word: string
  /** Recordings by what they are. */
  readonly states: Readonly<Record<'retained' | 'requested' | 'trashed' | 'purged' | 'unclaimed' | 'encoding', string>>
}

const kept = ['awaiting_claim', 'claimed', 'encoding', 'archiving', 'protected', 'retained']
const hash = (text: string) => createHash('sha256').update(text).digest('hex')

/** Fills an account: at least one row in every table, with the word of the account in every text that people write. */
export async function fillAccount(stage: Stage, account: TestAccount, word: string): Promise<Belongings> {
  const { owner } = stage
  const one = async (text: string, values: unknown[]): Promise<string> => (await owner.query(text, values)).rows[0].id
  const add = async (what: string, path: string[]) => {
    const id = await stage.addRecording(account, { title: `${word} ${what}` })
    const file = await stage.addFile(account, id, {
      name: `${word}.mp4`,
      kind: 'original',
      contentType: 'video/mp4',
      bytes: Buffer.from(`bytes of ${word}`),
    })
    await owner.query(
      `update recordings set owner_id = $2, plan_hash = $3, retain_until = now() - interval '1 day', description = $4, tags = array[$4]
       where id = $1`,
      [id, path.includes('claimed') ? account.people.user : null, hash('plan'), word],
    )
    let disposition = ''
    for (const state of path) {
      if (state === 'disposition_requested')
        disposition = await one(
          `insert into dispositions (account_id, recording_id, requested_by, reason, plan_hash) values ($1, $2, $3, $4, $5) returning id`,
          [account.id, id, account.people.user, word, hash('plan')],
        )
      if (state === 'approved') {
        await owner.query(
          `insert into approvals (disposition_id, person_id, account_id, plan_hash) values ($1, $2, $3, $4)`,
          [disposition, account.people.operator, account.id, hash('plan')],
        )
        await owner.query(
          `update dispositions set state = 'approved', undo_until = now() + interval '1 hour' where id = $1`,
          [disposition],
        )
      }
      if (state === 'purging')
        await owner.query(`update dispositions set state = 'purging' where id = $1`, [disposition])
      await owner.query('update recordings set state = $2 where id = $1', [id, state])
    }
    return { id, file, disposition }
  }
  const retained = await add('retained', kept)
  const requested = await add('requested', [...kept, 'disposition_requested'])
  const trashed = await add('trashed', [...kept, 'disposition_requested', 'approved', 'trashed'])
  const purged = await add('purged', [...kept, 'disposition_requested', 'approved', 'trashed', 'purging'])
  await owner.query(`update copies set state = 'purged', purged_at = now() where recording_id = $1`, [purged.id])
  await owner.query(
    `update recordings set state = 'purged', certificate = '{"payload":{},"signature":"x","keyId":"x","publicKey":"x"}' where id = $1`,
    [purged.id],
  )
  const unclaimed = await add('unclaimed', ['awaiting_claim'])
  const encoding = await add('encoding', ['awaiting_claim', 'claimed', 'encoding'])
  const hold = await one(
    `insert into holds (account_id, recording_id, reason, placed_by) values ($1, $2, $3, $4) returning id`,
    [account.id, retained.id, word, account.people.operator],
  )
  const path = `room-1/${word}.mp4`
  const deposit = await one(
    `insert into deposits (id, account_id, inbox_id, recorder_id, path, size_bytes, mtime_ms, file_id, state, reason_code, reason)
     values ($1, $2, $3, $4, $5, 1, 1, $5, 'quarantined', 'truncated', $6) returning id`,
    [randomUUID(), account.id, account.inboxId, account.recorderId, path, word],
  )
  await owner.query(
    `insert into announced_puts (account_id, store_id, key, deposit_id)
     values ($1::uuid, $2, $1 || '/' || $3 || '/original.mp4', $3::uuid)`,
    [account.id, account.primaryId, deposit],
  )
  await owner.query(
    `insert into problems (account_id, recording_id, stage, code, message, attempts, options)
     values ($1, $2, 'ingest', 'truncated', $3, 1, array['retry', 'replace', 'give_up'])`,
    [account.id, deposit, word],
  )
  await owner.query(
    `insert into notices (account_id, recording_id, kind, occasion, recipient) values ($1, $2, 'claim_wanted', 'x', $3)`,
    [account.id, retained.id, `${word}@example.test`],
  )
  await owner.query(
    `update recorders set name = $2, description = $2, manager_id = $3, default_owner_id = $3, ip = '10.1.2.3', notify_salt = $4 where id = $1`,
    [account.recorderId, `${word} room`, account.people.manager, `salt-of-${word}`],
  )
  // One that nobody works with: it is revoked once.
  const key = await one(
    `insert into api_keys (account_id, person_id, label, key_sha256, scopes) values ($1, $2, $3, $4, array['read']) returning id`,
    [account.id, account.people.viewer, word, hashSecret(`key-of-${word}`)],
  )
  await owner.query(
    `insert into sessions (token_sha256, account_id, api_key_id, expires_at) values ($1, $2, $3, now() + interval '1 hour')`,
    [hashSecret(`session-of-${word}`), account.id, account.adminKeyId],
  )
  await owner.query(`insert into idempotency_keys (account_id, key, request_sha256) values ($1, $2, 'x')`, [
    account.id,
    `key-of-${word}`,
  ])
  return {
    recording: retained.id,
    deposit,
    recorder: account.recorderId,
    file: retained.file,
    fileName: `${word}.mp4`,
    hold,
    disposition: requested.disposition,
    person: account.people.user,
    store: account.primaryId,
    inbox: account.inboxId,
    key,
    path,
    word,
    states: {
      retained: retained.id,
      requested: requested.id,
      trashed: trashed.id,
      purged: purged.id,
      unclaimed: unclaimed.id,
      encoding: encoding.id,
    },
  }
}

/** Every row of every table, of one account or of none; what is read before and after must be equal. */
export async function dumpTables(stage: Stage, accountId?: string): Promise<Record<string, unknown[]>> {
  const { rows } = await stage.owner.query(
    `select c.relname as name, exists (select 1 from pg_attribute where attrelid = c.oid and attname = 'account_id') as owned
     from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace order by 1`,
  )
  const dump: Record<string, unknown[]> = {}
  for (const { name, owned } of rows as { name: string; owned: boolean }[]) {
    if (accountId !== undefined && !owned) continue
    const where = accountId === undefined ? '' : `where account_id = '${accountId}'`
    const found = await stage.owner.query(
      `select to_jsonb(t) as row from ${name} t ${where} order by to_jsonb(t)::text`,
    )
    dump[name] = found.rows.map(({ row }) => row as unknown)
  }
  return dump
}
