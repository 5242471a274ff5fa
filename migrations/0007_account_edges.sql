-- A foreign key alone does not know accounts: it is checked past row-level security, and lets a row point at another
-- account's person, store or recording. So every key between two tables with an account carries the account along.
do $$
declare
  edge record;
begin
  for edge in
    select c.conname as name, c.conrelid::regclass as child, c.confrelid::regclass as parent,
      a.attname as column_name, p.attname as parent_column, c.confdeltype as on_delete, c.confupdtype as on_update
    from pg_constraint c
    join pg_attribute a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    join pg_attribute p on p.attrelid = c.confrelid and p.attnum = c.confkey[1]
    where c.contype = 'f' and c.connamespace = 'public'::regnamespace and cardinality(c.conkey) = 1
      and c.confrelid <> 'accounts'::regclass
      and exists (select 1 from pg_attribute where attrelid = c.conrelid and attname = 'account_id' and not attisdropped)
      and exists (select 1 from pg_attribute where attrelid = c.confrelid and attname = 'account_id' and not attisdropped)
  loop
    if edge.on_delete <> 'a' or edge.on_update <> 'a' then
      raise exception 'the key % of % does more than refuse', edge.name, edge.child;
    end if;
    if to_regclass(format('%s_account_edge', edge.parent)) is null then
      execute format('create unique index %s on %s (account_id, %I)', edge.parent || '_account_edge', edge.parent, edge.parent_column);
    end if;
    execute format('alter table %s drop constraint %I', edge.child, edge.name);
    execute format('alter table %s add constraint %I foreign key (account_id, %I) references %s (account_id, %I)',
      edge.child, edge.name, edge.column_name, edge.parent, edge.parent_column);
  end loop;
end $$;

-- Without a key, because a deposit is there before its recording is. Seen with the eyes of the account itself.
create function guard_deposit_recording() returns trigger language plpgsql as $$
begin
  if new.recording_id is not null and new.recording_id <> new.id
     and not exists (select 1 from recordings where id = new.recording_id and account_id = new.account_id) then
    raise exception 'deposit % cannot belong to recording %: this account has none', new.id, new.recording_id
      using errcode = 'foreign_key_violation';
  end if;
  return new;
end $$;
create trigger deposits_recording_guard before insert or update of recording_id on deposits
  for each row execute function guard_deposit_recording();
