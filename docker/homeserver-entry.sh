#!/bin/sh
# Writes the homeserver's configuration from the environment, then runs it. The key in /data is made at the first start.
set -eu
: "${DATABASE_URL:?}" "${ADMIN_PASSWORD:?}" "${PUBLIC_IP:?}" "${DOMAIN:=localhost}" "${SIGNUP_MODE:=token_required}"
umask 077
cat > /data/config.toml <<TOML
[general]
signup_mode = "$SIGNUP_MODE"
database_url = "$DATABASE_URL"

[drive]
icann_listen_socket = "0.0.0.0:6286"
pubky_listen_socket = "0.0.0.0:6287"

[admin]
enabled = true
listen_socket = "0.0.0.0:6288"
admin_password = "$ADMIN_PASSWORD"

[pkdns]
public_ip = "$PUBLIC_IP"
icann_domain = "$DOMAIN"
TOML
exec pubky-homeserver --data-dir /data
