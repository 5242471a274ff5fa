-- A recorder may sign its notify call instead of sending a key that travels in the address: then only signed calls count.
alter table recorders add column notify_secret text;

-- Ids of signed calls that were taken, for as long as the same call could be sent again.
create table notify_calls (
  account_id uuid not null references accounts,
  recorder_id uuid not null,
  call_id text not null,
  seen_at timestamptz not null default now(),
  primary key (recorder_id, call_id),
  constraint notify_calls_recorder_id_fkey foreign key (account_id, recorder_id) references recorders (account_id, id)
);
create index notify_calls_by_age on notify_calls (account_id, seen_at);

alter table notify_calls enable row level security;
alter table notify_calls force row level security;
create policy own_account on notify_calls
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, delete on notify_calls to reelkeep_app;
