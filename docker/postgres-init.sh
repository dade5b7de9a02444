#!/bin/sh
# Run once by the Postgres image, when its volume is empty: one user and one database for each service.
set -eu
psql -v ON_ERROR_STOP=1 -v homeserver="$HOMESERVER_DB_PASSWORD" -v plugin="$PLUGIN_DB_PASSWORD" --username "$POSTGRES_USER" <<'SQL'
CREATE ROLE homeserver LOGIN PASSWORD :'homeserver';
CREATE DATABASE homeserver OWNER homeserver;
CREATE ROLE atomicity LOGIN PASSWORD :'plugin';
CREATE DATABASE atomicity OWNER atomicity;
SQL
