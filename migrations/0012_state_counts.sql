-- How many recordings of an account are in each state, and the bytes of their originals, kept with every change: counting a
-- large stock anew reads all of it, and that is asked for every few seconds.
drop view state_counts;
create table state_counts (
  account_id uuid not null references accounts,
  state text not null,
  recordings integer not null,
  bytes bigint not null,
  primary key (account_id, state)
);
alter table state_counts enable row level security;
alter table state_counts force row level security;
create policy own_account on state_counts
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, update on state_counts to reelkeep_app;

-- Changes of state in one account follow each other already: each holds the head of its audit chain until it commits. This trigger
-- runs after the one that takes it (by its name), so that nobody waits here for anybody, or the other way round.
create function count_state() returns trigger language plpgsql as $$
begin
  if tg_op <> 'INSERT' then
    update state_counts set recordings = recordings - 1, bytes = bytes - old.size_bytes
      where account_id = old.account_id and state = old.state;
  end if;
  if tg_op <> 'DELETE' then
    insert into state_counts as c (account_id, state, recordings, bytes) values (new.account_id, new.state, 1, new.size_bytes)
      on conflict (account_id, state) do update set recordings = c.recordings + 1, bytes = c.bytes + excluded.bytes;
  end if;
  return null;
end $$;
create trigger recordings_counts after insert or delete on recordings for each row execute function count_state();
create trigger recordings_counts_anew after update of state, size_bytes on recordings for each row
  when ((old.state, old.size_bytes) is distinct from (new.state, new.size_bytes)) execute function count_state();

-- The owner is bound by the accounts' walls, too, so the stock is counted account by account.
do $$
declare account uuid;
begin
  perform set_config('app.door', 'accounts', true);
  for account in select id from accounts loop
    perform set_config('app.account', account::text, true);
    insert into state_counts (account_id, state, recordings, bytes)
      select account_id, state, count(*), sum(size_bytes) from recordings where account_id = account group by account_id, state;
  end loop;
  perform set_config('app.door', '', true), set_config('app.account', '', true);
end $$;
