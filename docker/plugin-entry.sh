#!/bin/sh
# Makes the key at the first start, then does what was asked.
set -eu
[ -e "$ATOMICITY_HOMESERVER_DATA_DIR/secret" ] || atomicity-homeserver init >&2
exec atomicity-homeserver "$@"
