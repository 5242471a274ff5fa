#!/bin/sh
# Brings Temporal's two databases to the schema of this server version. A second run finds nothing to do.
set -eu
for name in temporal visibility; do
  database=temporal
  [ "$name" = visibility ] && database=temporal_visibility
  tool="temporal-sql-tool --plugin postgres12 --ep postgres -p 5432 -u temporal --db $database"
  versions=/etc/temporal/schema/postgresql/v12/$name/versioned
  # An empty database has no version to update from; then it is set up first.
  $tool update-schema -d "$versions" || { $tool setup-schema -v 0.0 && $tool update-schema -d "$versions"; }
done
