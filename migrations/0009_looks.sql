-- A look asks every second which deposits may still lie in an inbox; those that left it long ago must not be read for that.
create index deposits_not_over on deposits (inbox_id) where state not in ('released', 'vanished');
create index deposits_by_settling on deposits (inbox_id, settled_at);
