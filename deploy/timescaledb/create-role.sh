#!/bin/sh
#
# Run once by the database image, when it creates its data directory: the role that the server connects as. It owns its
# database and is no superuser. The image has put the extension into template1 before, so the database has it.

set -eu

# psql quotes the password: it is a variable (:'password'), never part of the text.
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
	--set password="$(cat /run/secrets/database_password)" <<'END'
CREATE ROLE gohub LOGIN PASSWORD :'password';
CREATE DATABASE gohub OWNER gohub;
REVOKE ALL ON DATABASE gohub FROM PUBLIC;
END
