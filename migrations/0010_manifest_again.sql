-- A manifest that went bad before any copy of it was verified is written again, and may say something else by then: somebody may have
-- described the recording anew. Everything else about a file, and every other file, stays what it was when it was stored.
create function guard_manifest() returns trigger language plpgsql as $$
begin
  if old.kind <> 'manifest' or exists (select 1 from copies where file_id = old.id and state = 'verified') then
    raise exception 'file % is final', old.id using errcode = 'check_violation';
  end if;
  return new;
end $$;
create trigger manifest_guard before update on files for each row execute function guard_manifest();
grant update (size_bytes, sha256) on files to reelkeep_app;
