-- Search by words. Under row-level security Postgres uses an index only for comparisons that cannot tell anything about rows
-- of others; pattern matching and text search are none of them, equality and order of texts are. So every word that people
-- look for stands in a row of its own, beside the account and the time by which lists are ordered.

-- Letters without case and accents. The database's own locale may know no letters but English ones.
do $do$
declare
  letters text := coalesce((
    select format('collate %I', collname) from pg_collation
    where collname in ('pg_c_utf8', 'und-x-icu') and collnamespace = 'pg_catalog'::regnamespace
    order by collname = 'pg_c_utf8' desc limit 1), '');
begin
  execute format($f$create function fold_text(t text) returns text language sql immutable parallel safe as
    $$select lower(regexp_replace(normalize(t, NFKD), '[\u0300-\u036f]+', '', 'g') %s)$$ $f$, letters);
  -- What stands between letters and digits separates words, so a file's name falls into its parts.
  execute format($f$create function words_of(t text) returns text[] language sql immutable parallel safe as
    $$select coalesce(array_agg(distinct left(word, 60)), '{}')
      from regexp_split_to_table(fold_text(t) %s, '[^[:alnum:]]+') word where word <> ''$$ $f$, letters);
end $do$;

-- What one recording is found by: the words of its title, description and tags, and each tag as a whole behind a '#', which is
-- no part of any word.
create function words_of_recording(title text, description text, tags text[]) returns text[] language sql immutable parallel safe as $$
  select words_of(concat_ws(' ', title, description, array_to_string(tags, ' ')))
    || coalesce((select array_agg(distinct '#' || fold_text(tag)) from unnest(tags) tag), '{}')
$$;

create table recording_words (
  account_id uuid not null references accounts,
  recording_id uuid not null,
  -- its recording's, which never changes: so that one index finds a word and has the newest first
  created_at timestamptz not null,
  -- in the order of bytes: what begins alike stands together
  word text collate "C" not null
);
alter table recording_words enable row level security;
alter table recording_words force row level security;
create policy own_account on recording_words
  using (account_id = nullif(current_setting('app.account', true), '')::uuid)
  with check (account_id = nullif(current_setting('app.account', true), '')::uuid);
grant select, insert, delete on recording_words to reelkeep_app;

-- The owner is bound by the accounts' walls, too, so the stock is read account by account.
do $$
declare account uuid;
begin
  perform set_config('app.door', 'accounts', true);
  for account in select id from accounts loop
    perform set_config('app.account', account::text, true);
    insert into recording_words (account_id, recording_id, created_at, word)
      select r.account_id, r.id, r.created_at, word from recordings r, unnest(words_of_recording(r.title, r.description, r.tags)) word;
  end loop;
  perform set_config('app.door', '', true), set_config('app.account', '', true);
end $$;
alter table recording_words
  add primary key (account_id, created_at, recording_id, word),
  add constraint recording_words_recording_id_fkey foreign key (account_id, recording_id) references recordings (account_id, id);
create index recording_words_by_word on recording_words (account_id, word, created_at desc, recording_id desc);

-- Written with its recording, and after a change only what changed.
create function keep_words() returns trigger language plpgsql as $$
declare words text[] := words_of_recording(new.title, new.description, new.tags);
begin
  if tg_op = 'UPDATE' then
    delete from recording_words where account_id = old.account_id and created_at = old.created_at and recording_id = old.id
      and (created_at <> new.created_at or word <> all (words));
  end if;
  insert into recording_words (account_id, recording_id, created_at, word)
    select new.account_id, new.id, new.created_at, word from unnest(words) word on conflict do nothing;
  return null;
end $$;
create trigger recordings_words after insert on recordings for each row execute function keep_words();
create trigger recordings_words_anew after update of title, description, tags, created_at on recordings for each row
  when ((old.title, old.description, old.tags, old.created_at) is distinct from (new.title, new.description, new.tags, new.created_at))
  execute function keep_words();

-- What lists are filtered by, each in the order of the list.
create index recordings_by_recorder on recordings (account_id, recorder_id, created_at desc, id desc);
create index recordings_by_owner on recordings (account_id, owner_id, created_at desc, id desc) where owner_id is not null;
create index problems_open on problems (account_id, recording_id) where resolved_at is null;
