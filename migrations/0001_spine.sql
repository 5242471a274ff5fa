-- The spine: what exists, who may see it, and which changes of state are possible at all.
-- Forward only. Runs as the owner of the database; the application connects as reelkeep_app, which can bypass nothing.

create table system (
  only_row boolean primary key default true check (only_row),
  -- Decided when the system is created and never again: may a recording's clock be moved?
  fast_forward boolean not null default false,
  created_at timestamptz not null default now()
);

create function forbid_change() returns trigger language plpgsql as $$
begin
  raise exception '% on % is not possible: its rows are never changed', tg_op, tg_table_name using errcode = 'restrict_violation';
end $$;
create trigger system_is_final before update or delete on system for each row execute function forbid_change();

create table accounts (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  policy jsonb not null,
  created_at timestamptz not null default now()
);

create table people (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  name text not null,
  email text not null,
  roles text[] not null,
  created_at timestamptz not null default now(),
  unique (account_id, email)
);

create table api_keys (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  person_id uuid not null references people,
  label text not null,
  key_sha256 text not null unique,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create table sessions (
  token_sha256 text primary key,
  account_id uuid not null references accounts,
  api_key_id uuid not null references api_keys,
  expires_at timestamptz not null
);

create table stores (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  name text not null,
  site text not null,
  role text not null check (role in ('inbox', 'primary', 'backup')),
  url text not null,
  created_at timestamptz not null default now(),
  unique (account_id, name)
);
create unique index one_primary on stores (account_id) where role = 'primary';

create table recorders (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  inbox_id uuid not null references stores,
  name text not null,
  description text not null default '',
  directory text not null,
  manager_id uuid references people,
  -- 'manager': mail a link; 'claim': anyone allowed may take it; 'automatic': straight on to the default owner.
  assignment text not null check (assignment in ('manager', 'claim', 'automatic')),
  default_owner_id uuid references people,
  is_default boolean not null default false,
  ip text,
  notify_salt text,
  -- null = the product's default for this kind of inbox
  quiet_ms bigint check (quiet_ms > 0),
  created_at timestamptz not null default now(),
  unique (account_id, name),
  unique (inbox_id, directory)
);
create unique index one_default_recorder on recorders (inbox_id) where is_default;
create unique index one_recorder_per_ip on recorders (account_id, ip) where ip is not null;

create table deposits (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  inbox_id uuid not null references stores,
  recorder_id uuid references recorders,
  path text not null,
  size_bytes bigint not null,
  mtime_ms bigint not null,
  file_id text not null,
  first_seen_at timestamptz not null default now(),
  changed_at timestamptz not null default now(),
  looks integer not null default 1,
  state text not null check (state in
    ('arriving', 'stalled', 'orphan', 'complete', 'accepted', 'duplicate', 'quarantined', 'refused', 'vanished', 'released')),
  end_signal text,
  sha256 text,
  reason_code text,
  reason text,
  attempts integer not null default 0,
  recording_id uuid,
  complete_at timestamptz,
  settled_at timestamptz
);
-- One live deposit per path, and the same file (same size, time, identity) is taken in once, however often it is seen.
create unique index one_live_deposit on deposits (inbox_id, path) where state in ('arriving', 'stalled', 'orphan', 'complete');
create unique index one_deposit_per_file on deposits (inbox_id, path, size_bytes, mtime_ms, file_id)
  where state in ('complete', 'accepted', 'duplicate', 'quarantined', 'refused');
create index deposits_by_time on deposits (account_id, first_seen_at desc, id desc);

create table recording_edges (from_state text not null, to_state text not null, primary key (from_state, to_state));
insert into recording_edges (from_state, to_state) values
  ('accepted', 'awaiting_claim'), ('accepted', 'claimed'),
  ('awaiting_claim', 'claimed'), ('awaiting_claim', 'disposition_requested'),
  ('claimed', 'awaiting_claim'), ('claimed', 'encoding'), ('encoding', 'archiving'), ('archiving', 'protected'),
  ('protected', 'retained'), ('retained', 'disposition_requested'),
  ('disposition_requested', 'retained'), ('disposition_requested', 'awaiting_claim'), ('disposition_requested', 'approved'),
  ('approved', 'retained'), ('approved', 'awaiting_claim'), ('approved', 'trashed'),
  ('trashed', 'retained'), ('trashed', 'awaiting_claim'), ('trashed', 'purging'), ('purging', 'purged');

create table recordings (
  id uuid primary key,
  account_id uuid not null references accounts,
  recorder_id uuid not null references recorders,
  deposit_id uuid not null unique references deposits,
  state text not null default 'accepted',
  state_since timestamptz not null default now(),
  title text not null,
  description text not null default '',
  tags text[] not null default '{}',
  owner_id uuid references people,
  sha256 text not null,
  size_bytes bigint not null,
  media jsonb not null,
  encode_plan jsonb,
  progress_percent integer,
  -- What the recording waits for and what happens by itself, and when: written by the workflow at every stage.
  waiting_for text,
  next_step text,
  next_at timestamptz,
  plan jsonb,
  plan_hash text,
  retain_until timestamptz,
  attempt integer not null default 0,
  -- Fast-forward: how far this recording's clock is ahead, and how far it was allowed to go.
  clock_offset_ms bigint not null default 0 check (clock_offset_ms >= 0),
  clock_limit_ms bigint not null default 0 check (clock_limit_ms >= clock_offset_ms),
  certificate jsonb,
  version bigint not null default 1,
  created_at timestamptz not null default now()
);
create unique index same_bytes_once on recordings (account_id, sha256) where state <> 'purged';
create index recordings_by_time on recordings (account_id, created_at desc, id desc);
create index recordings_by_state on recordings (account_id, state, created_at desc, id desc);
create index recordings_due on recordings (retain_until) where state = 'retained';

create function guard_recording() returns trigger language plpgsql as $$
begin
  if new.state <> old.state then
    if not exists (select 1 from recording_edges where from_state = old.state and to_state = new.state) then
      raise exception 'recording % cannot go from % to %', old.id, old.state, new.state using errcode = 'check_violation';
    end if;
    new.state_since := now();
  end if;
  if new.clock_limit_ms <> 0 and not exists (select 1 from system where fast_forward) then
    raise exception 'the clock of recording % cannot be moved: this system was created without fast-forward', old.id
      using errcode = 'check_violation';
  end if;
  if new.sha256 <> old.sha256 or new.account_id <> old.account_id or new.deposit_id <> old.deposit_id then
    raise exception 'the original of recording % is immutable', old.id using errcode = 'restrict_violation';
  end if;
  new.version := old.version + 1;
  return new;
end $$;
create trigger recordings_guard before update on recordings for each row execute function guard_recording();

create function guard_new_recording() returns trigger language plpgsql as $$
begin
  if new.state <> 'accepted' or new.clock_limit_ms <> 0 then
    raise exception 'recording % must begin as accepted, on the real clock', new.id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger recordings_begin before insert on recordings for each row execute function guard_new_recording();

-- The recording's own now: the database clock, moved only where fast-forward was allowed.
create function recording_now(r recordings) returns timestamptz language sql stable as
  $$ select now() + r.clock_offset_ms * interval '1 millisecond' $$;

create table files (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  recording_id uuid not null references recordings,
  kind text not null check (kind in ('original', 'video', 'hls', 'poster', 'sprite', 'audio', 'manifest')),
  name text not null,
  key text not null,
  content_type text not null,
  size_bytes bigint not null,
  sha256 text not null,
  width_px integer,
  height_px integer,
  duration_ms bigint,
  created_at timestamptz not null default now(),
  unique (recording_id, name)
);

create table copies (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  recording_id uuid not null references recordings,
  file_id uuid not null references files,
  store_id uuid not null references stores,
  state text not null check (state in ('stored', 'verified', 'failed', 'purged')),
  stored_at timestamptz not null default now(),
  verified_at timestamptz,
  purged_at timestamptz,
  unique (file_id, store_id),
  check ((state = 'verified') <= (verified_at is not null)),
  check ((state = 'purged') = (purged_at is not null))
);
create index copies_of_recording on copies (recording_id);

create table holds (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  recording_id uuid not null references recordings,
  reason text not null,
  placed_by uuid not null references people,
  placed_at timestamptz not null default now(),
  released_by uuid references people,
  released_at timestamptz
);
create index holds_standing on holds (recording_id) where released_at is null;

create table dispositions (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  recording_id uuid not null references recordings,
  -- null = requested by policy
  requested_by uuid references people,
  requested_at timestamptz not null default now(),
  reason text not null,
  plan_hash text not null,
  state text not null default 'requested' check (state in ('requested', 'approved', 'rejected', 'undone', 'cancelled', 'purging', 'done')),
  undo_until timestamptz,
  purge_started_at timestamptz,
  settled_at timestamptz
);
create unique index one_open_disposition on dispositions (recording_id) where state in ('requested', 'approved', 'purging');

create table approvals (
  disposition_id uuid not null references dispositions,
  person_id uuid not null references people,
  account_id uuid not null references accounts,
  plan_hash text not null,
  at timestamptz not null default now(),
  primary key (disposition_id, person_id)
);

create function guard_approval() returns trigger language plpgsql as $$
declare d dispositions;
begin
  select * into d from dispositions where id = new.disposition_id for update;
  if d.requested_by = new.person_id then
    raise exception 'disposition % cannot be approved by the person who requested it', d.id using errcode = 'check_violation';
  end if;
  if d.plan_hash <> new.plan_hash then
    raise exception 'disposition % was requested for another plan', d.id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger approvals_guard before insert on approvals for each row execute function guard_approval();
create trigger approvals_are_final before update or delete on approvals for each row execute function forbid_change();

-- Bytes may only go once the recording is on its way out, and a hold may not be placed once it is.
create function guard_copy() returns trigger language plpgsql as $$
declare s text;
begin
  if new.state = 'purged' and old.state <> 'purged' then
    select state into s from recordings where id = new.recording_id;
    if s <> 'purging' then
      raise exception 'copy % cannot be purged: recording % is %', new.id, new.recording_id, s using errcode = 'check_violation';
    end if;
  end if;
  if old.state = 'purged' and new.state <> 'purged' then
    raise exception 'copy % was purged and cannot come back', new.id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger copies_guard before update on copies for each row execute function guard_copy();
create trigger copies_stay before delete on copies for each row execute function forbid_change();

create function guard_hold() returns trigger language plpgsql as $$
declare s text;
begin
  select state into s from recordings where id = new.recording_id for update;
  if s in ('purging', 'purged') then
    raise exception 'recording % is already %', new.recording_id, s using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger holds_guard before insert on holds for each row execute function guard_hold();

create function guard_purge() returns trigger language plpgsql as $$
begin
  if new.state = 'purging' and old.state <> 'purging' and
     exists (select 1 from holds where recording_id = new.id and released_at is null) then
    raise exception 'recording % is on hold', new.id using errcode = 'check_violation';
  end if;
  if new.state = 'purging' and old.state <> 'purging' and not exists (
    select 1 from dispositions d join approvals a on a.disposition_id = d.id and a.plan_hash = d.plan_hash
    where d.recording_id = new.id and d.state in ('approved', 'purging')) then
    raise exception 'recording % has no approved disposition', new.id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger recordings_purge_guard before update of state on recordings for each row execute function guard_purge();

create table problems (
  id uuid primary key default gen_random_uuid(),
  account_id uuid not null references accounts,
  -- a recording's, or (before there is one) its deposit's: both carry the same id
  recording_id uuid not null,
  stage text not null,
  code text not null,
  message text not null,
  attempts integer not null,
  since timestamptz not null default now(),
  next_retry_at timestamptz,
  options text[] not null,
  resolved_at timestamptz,
  resolution text
);
create unique index one_open_problem on problems (recording_id, stage) where resolved_at is null;

create table audit_events (
  account_id uuid not null references accounts,
  seq bigint not null,
  recording_id uuid,
  at timestamptz not null default clock_timestamp(),
  -- the recording's own clock, where it was moved
  clock_at timestamptz,
  actor text not null,
  action text not null,
  detail jsonb not null default '{}',
  prev_hash text not null,
  hash text not null,
  primary key (account_id, seq)
);
create index audit_of_recording on audit_events (recording_id, seq);

create table audit_heads (account_id uuid primary key references accounts, seq bigint not null, hash text not null);

-- Chains the rows of an account: a row that is changed, removed or slipped in later breaks every hash behind it.
create function chain_audit() returns trigger language plpgsql as $$
declare head audit_heads;
begin
  insert into audit_heads values (new.account_id, 0, repeat('0', 64)) on conflict do nothing;
  select * into head from audit_heads where account_id = new.account_id for update;
  new.seq := head.seq + 1;
  new.at := clock_timestamp();
  new.prev_hash := head.hash;
  new.hash := audit_hash(new);
  update audit_heads set seq = new.seq, hash = new.hash where account_id = new.account_id;
  return new;
end $$;

create function audit_hash(e audit_events) returns text language sql stable as $$
  select encode(sha256(convert_to(concat_ws(E'\n', e.prev_hash, e.account_id, e.seq, coalesce(e.recording_id::text, ''),
    extract(epoch from e.at)::text, coalesce(extract(epoch from e.clock_at)::text, ''), e.actor, e.action, e.detail::text), 'UTF8')), 'hex')
$$;
create trigger audit_chain before insert on audit_events for each row execute function chain_audit();
create trigger audit_is_final before update or delete on audit_events for each row execute function forbid_change();

-- Every change of state writes its audit row in the same transaction, by construction.
create function audit_recording_state() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' or new.state <> old.state then
    insert into audit_events (account_id, recording_id, clock_at, actor, action, detail) values (
      new.account_id, new.id, case when new.clock_limit_ms > 0 then recording_now(new) end,
      coalesce(nullif(current_setting('app.actor', true), ''), 'system'), 'recording.' || new.state,
      coalesce(nullif(current_setting('app.detail', true), '')::jsonb, '{}'));
  end if;
  return new;
end $$;
create trigger recordings_audit after insert or update of state on recordings for each row execute function audit_recording_state();

create table idempotency_keys (
  account_id uuid not null references accounts,
  key text not null,
  request_sha256 text not null,
  status integer,
  body jsonb,
  created_at timestamptz not null default now(),
  primary key (account_id, key)
);

-- Mail that was handed over, once per occasion.
create table notices (
  account_id uuid not null references accounts,
  recording_id uuid not null,
  kind text not null,
  occasion text not null,
  recipient text not null,
  sent_at timestamptz not null default now(),
  primary key (recording_id, kind, occasion, recipient)
);

-- Row-level security: every table with an account shows the rows of the account of this transaction, and no others.
do $$
declare t text;
begin
  for t in select table_name from information_schema.columns
           where table_schema = 'public' and column_name = 'account_id' loop
    execute format('alter table %I enable row level security', t);
    execute format('alter table %I force row level security', t);
    execute format($p$create policy own_account on %I
      using (account_id = nullif(current_setting('app.account', true), '')::uuid)
      with check (account_id = nullif(current_setting('app.account', true), '')::uuid)$p$, t);
  end loop;
end $$;
alter table accounts enable row level security;
alter table accounts force row level security;
create policy own_account on accounts
  using (id = nullif(current_setting('app.account', true), '')::uuid)
  with check (id = nullif(current_setting('app.account', true), '')::uuid);

-- The three doors through the wall: who is this key, which session, which accounts are there to be looked after.
-- They run as the owner, for whom these policies let exactly these reads through.
create policy doors_accounts on accounts for select using (current_setting('app.door', true) = 'accounts');
create policy doors_keys on api_keys for select using (key_sha256 = nullif(current_setting('app.door', true), ''));
create policy doors_sessions on sessions for select using (token_sha256 = nullif(current_setting('app.door', true), ''));

create view state_counts with (security_invoker = true) as
  select account_id, state, count(*)::integer as recordings, coalesce(sum(size_bytes), 0)::bigint as bytes
  from recordings group by account_id, state;

grant usage on schema public to reelkeep_app;
grant select on system, recording_edges to reelkeep_app;
grant select, insert on accounts, people, api_keys, stores, recorders, deposits, recordings, files, copies, holds, dispositions,
  approvals, problems, audit_events, idempotency_keys, notices, sessions, audit_heads to reelkeep_app;
grant select on state_counts to reelkeep_app;
grant update on accounts, people, api_keys, stores, recorders, deposits, recordings, copies, holds, dispositions, problems,
  idempotency_keys, audit_heads to reelkeep_app;
grant delete on sessions, idempotency_keys to reelkeep_app;
