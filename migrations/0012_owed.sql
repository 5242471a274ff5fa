-- Where a person let what a recording owes be, it stays so; asked for every recording that a round comes past.
create index problems_skipped on problems (recording_id) where resolution = 'skip';
