-- An original is put before the rows that name it can be written. It is announced first, and struck off in the transaction that names
-- it: what stays announced for days stands in its store without a row, or never came there.
create table announced_puts (
  account_id uuid not null references accounts,
  store_id uuid not null,
  key text not null,
  -- without a key: a deposit that goes on under a new id leaves its old one, and what was put under it, behind
  deposit_id uuid not null,
  announced_at timestamptz not null default now(),
  primary key (store_id, key),
  constraint announced_puts_store_id_fkey foreign key (account_id, store_id) references stores (account_id, id)
);
alter table announced_puts enable row level security;
alter table announced_puts force row level security;
create policy own_account on announced_puts
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, update, delete on announced_puts to reelkeep_app;

-- What lies in an inbox because of a recording: asked whenever a source may go, and when the recording is purged.
create index deposits_not_released on deposits (recording_id) where state in ('accepted', 'duplicate');
