#!/bin/bash
# Runs once, when the database volume is empty: two roles for the product, neither of them powerful, and one for Temporal.
set -euo pipefail
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" \
  --set owner="$REELKEEP_OWNER_PASSWORD" --set app="$REELKEEP_APP_PASSWORD" --set temporal="$TEMPORAL_PASSWORD" <<'SQL'
CREATE ROLE reelkeep_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'owner';
CREATE ROLE reelkeep_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'app';
CREATE DATABASE reelkeep OWNER reelkeep_owner;
REVOKE ALL ON DATABASE reelkeep FROM PUBLIC;
GRANT CONNECT ON DATABASE reelkeep TO reelkeep_app;
CREATE ROLE temporal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'temporal';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;
SQL
