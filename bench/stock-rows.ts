import type { Client } from 'pg'

/**
 * Gives recordings of the account of this connection what a kept one has besides: its files, a copy of each in two stores
 * and the rows of the audit trail that its life wrote.
 */
export async function fillRows(client: Client, accountId: string): Promise<void> {
  for (const role of ['primary', 'backup'])
    await client.query(
      `insert into stores (account_id, name, site, role, url) values ($1, $2, $2, $2, 'local:/nowhere/' || $2)`,
      [accountId, role],
    )
  await client.query(fileRows, [accountId])
  await client.query(copyRows, [accountId])
  // The trail's own trigger chains them, row by row; the head it keeps is one row, which many changes at once would stretch.
  const { rows } = await client.query<{ n: number }>('select count(*)::integer as n from recordings')
  for (let from = 0; from < (rows[0]?.n ?? 0); from += auditedAtOnce)
    await client.query(auditRows, [accountId, from, auditedAtOnce])
}

const auditedAtOnce = 200

/** Of a remux; a ladder has three more for each rung. Names, kinds and keys are as the product makes them. */
const fileRows = `
  insert into files (account_id, recording_id, kind, name, key, content_type, size_bytes, sha256)
  select $1, r.id, f.kind, f.name,
    'recordings/' || r.id || '/renditions/' || left(encode(sha256('plan'), 'hex'), 16) || '/' || f.name, f.type, 1000000,
    encode(sha256((r.id || f.name)::bytea), 'hex')
  from recordings r, (values
    ('original', 'original.mp4', 'video/mp4'), ('video', 'source.mp4', 'video/mp4'),
    ('hls', 'hls/master.m3u8', 'application/vnd.apple.mpegurl'), ('hls', 'hls/source.m3u8', 'application/vnd.apple.mpegurl'),
    ('hls', 'hls/source.m4s', 'video/mp4'), ('poster', 'poster.jpg', 'image/jpeg'), ('sprite', 'sprite.jpg', 'image/jpeg'),
    ('sprite', 'sprite.vtt', 'text/vtt'), ('audio', 'audio.m4a', 'audio/mp4'), ('manifest', 'manifest.json', 'application/json')
  ) f (kind, name, type) order by r.created_at`

const copyRows = `
  insert into copies (account_id, recording_id, file_id, store_id, state, stored_at, verified_at)
  select $1, f.recording_id, f.id, s.id, 'verified', now(), now()
  from files f, stores s where s.account_id = $1 and s.role <> 'inbox'`

const auditRows = `
  insert into audit_events (account_id, recording_id, actor, action, detail)
  select $1, r.id, 'system', 'recording.' || passed.state,
    case passed.state when 'accepted' then jsonb_build_object('path', 'room-1/lecture.mp4', 'sha256', r.sha256, 'endSignal', 'rename', 'sizeBytes', r.size_bytes)
      else '{}' end
  from (select * from recordings order by created_at, id offset $2 limit $3) r, unnest('{accepted,claimed,encoding,archiving,protected,retained}'::text[]) passed (state)`
