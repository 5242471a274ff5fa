-- Answers are forgotten after a week; finding the old ones must not cost a look at all of them.
create index idempotency_by_age on idempotency_keys (account_id, created_at);
