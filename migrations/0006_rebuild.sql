-- Every recording that is not purged has a life. A round goes through them by id, a few at a time, and begins the lives that
-- are missing: after the loss of Temporal's state, or of this database. One row per account says where the round stands.
create table life_rounds (
  account_id uuid primary key references accounts,
  began_at timestamptz not null default now(),
  -- null = from the first recording on
  after_id uuid,
  -- null = the round is under way
  ended_at timestamptz,
  -- True where rows were rebuilt: lives that still run look at the database again.
  wake boolean not null default false
);
alter table life_rounds enable row level security;
alter table life_rounds force row level security;
create policy own_account on life_rounds
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, update on life_rounds to reelkeep_app;

create index recordings_alive on recordings (account_id, id) where state <> 'purged';
