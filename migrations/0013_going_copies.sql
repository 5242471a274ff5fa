-- When the purge of a recording was about to remove a copy from its store: what is missing there before that, something else removed, or
-- its disk is not mounted.
alter table copies add column going_at timestamptz;
