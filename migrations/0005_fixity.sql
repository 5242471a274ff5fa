-- Fixity: what reading a copy again showed, since when that is so, and which good copy a bad one is made again from.
alter table copies
  add column checked_at timestamptz,
  add column check_result text check (check_result in ('ok', 'failed', 'could_not_run')),
  -- since when the result is this one: a store that is away for a month says so
  add column check_since timestamptz,
  add column check_note text,
  -- set by the check where a good copy is known, cleared by the mending: the work owed, in the database and nowhere else
  add column mend_from uuid references stores,
  add constraint checked_whole check ((check_result is null) = (checked_at is null) and (check_result is null) = (check_since is null)),
  add constraint only_bad_copies_are_mended check (mend_from is null or (state in ('failed', 'purged') and mend_from <> store_id));
-- few in a healthy system: what lists and the standing ask for
create index copies_not_ok on copies (account_id, check_result) where check_result in ('failed', 'could_not_run') and state <> 'purged';
create index copies_to_mend on copies (recording_id) where mend_from is not null;

-- The first check is the reading back when the copies are made; the next one is due 90 days later.
alter table recordings
  add column fixity_at timestamptz,
  add column fixity_due_at timestamptz not null default now() + interval '90 days';
create index recordings_fixity_due on recordings (account_id, fixity_due_at, id) where state in ('retained', 'disposition_requested');
