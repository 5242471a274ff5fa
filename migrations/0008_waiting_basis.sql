-- What a recording was in when its life said what it waits for. Where the two differ, a decision was made since, and the
-- sentence is no longer true, though the life has not come round to saying the next one.
alter table recordings add column waiting_basis text;

-- Only for states in which a life rests: a stage under way speaks for itself. Null = nothing to compare.
create function waiting_basis_of(r recordings) returns text language sql stable as $$
  select case
    when r.state = 'retained' then concat_ws(' ', r.state, r.plan_hash, (
      select string_agg(h.id::text, ' ' order by h.id) from holds h
      where h.recording_id = r.id and h.released_at is null))
    -- The last approval passes through `approved` into the trash; the life waits for one thing in both.
    when r.state in ('approved', 'trashed') then 'undo'
    when r.state in ('awaiting_claim', 'disposition_requested') then r.state::text
  end
$$;
