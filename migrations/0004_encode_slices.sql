-- Parts of a long encode that are finished before the whole is: what a worker goes on from when another one was lost. Unlike everything
-- else under a recording they are temporary; rows and objects go when the renditions are there. The first run that made a part counts.
create table encode_slices (
  account_id uuid not null references accounts,
  recording_id uuid not null references recordings,
  -- how the whole is cut and made: parts of different plans never go together
  plan_hash text not null,
  slice integer not null check (slice >= 0),
  rung text not null,
  key text not null,
  size_bytes bigint not null,
  sha256 text not null,
  created_at timestamptz not null default now(),
  primary key (recording_id, plan_hash, slice, rung)
);
alter table encode_slices enable row level security;
alter table encode_slices force row level security;
create policy own_account on encode_slices
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, delete on encode_slices to reelkeep_app;
