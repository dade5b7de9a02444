#!/usr/bin/env bash
# Builds the images of docker/Dockerfile and runs them with what docker/compose.yaml says, on a machine without a container engine and without a registry: by
# buildah, on an empty Debian of debootstrap. What is compiled in the Dockerfile is taken from this tree's own build instead; with COMPILE=1 it is compiled
# there, by this machine's Rust on the same Debian, which takes half an hour and fetches crates. Caddy and Prometheus are Debian's, with the files that the
# compose file gives them; Grafana, which Debian has not, is not run; and Postgres is the machine's own, set up by the script that the compose file has for it.
#
# It all happens in namespaces of its own (processes, mounts, network), so it ends as a whole. Needs root. Minutes, the first time: the images are kept in
# target/containers.
set -euo pipefail
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly TREE
readonly TARGET=${CARGO_TARGET_DIR:-$TREE/target}
readonly CACHE=$TARGET/containers
readonly TOOLS=$TARGET/tools/bin

say() { printf '%s\n' "containers: $*" >&2; }
die() { say "$*"; exit 1; }
compose() { python3 "$TREE/e2e/containers/compose.py" "$@"; }
images() { buildah --root "$CACHE/images" --runroot "$CACHE/run" --storage-driver vfs "$@"; }

# Every tenth of a second, for a minute.
until_true() {
    local try
    for try in $(seq 600); do
        if "$@" >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    die "in vain, $try times: $*"
}

# --- building ---------------------------------------------------------------------------------

# The programs of the tree, and the homeserver of its dependencies, built together with the tests so that nothing is built twice.
programs() {
    local packages
    packages=$(cargo metadata --locked --no-deps --format-version 1 | python3 -c 'import json, sys; print(*("-p " + package["name"] for package in json.load(sys.stdin)["packages"]))')
    # shellcheck disable=SC2086  # many arguments
    cargo build --locked $packages -p pubky-homeserver --bin atomicity-homeserver --bin pubky-homeserver
    for program in atomicity-homeserver pubky-homeserver; do
        install -D -m 0755 "$TARGET/debug/$program" "$CACHE/$program/usr/local/bin/$program"
        strip --strip-debug "$CACHE/$program/usr/local/bin/$program"
    done
}

debian() { sed -n 's/^ARG DEBIAN=//p' "$TREE/docker/Dockerfile"; }
rust() { rustc --version | sed 's/^rustc \([0-9]*\.[0-9]*\)\..*/\1/'; }

# What a registry would give: an empty Debian under the name that the Dockerfile knows.
base_image() {
    local name container empty
    name=docker.io/library/debian:$(debian)-slim
    if images inspect --type image "$name" >/dev/null 2>&1; then return; fi
    "$TREE/e2e/guide/run.sh" base
    empty=$(mktemp -d "$CACHE/base.XXXXXX")
    tar -C "$empty" --exclude './var/cache/apt/archives/*.deb' --exclude './var/lib/apt/lists/*' -xf "$("$TREE/e2e/guide/run.sh" system)"
    container=$(images from scratch)
    images add --quiet "$container" "$empty" / >/dev/null
    images commit --quiet --rm "$container" "$name" >/dev/null
    rm -rf --one-file-system "$empty"
}

# The same with Rust in it: this machine's own.
rust_image() {
    local name container tools
    name=docker.io/library/rust:$(rust)-slim-$(debian)
    if images inspect --type image "$name" >/dev/null 2>&1; then return; fi
    tools=$(mktemp -d "$CACHE/rust.XXXXXX")
    tar -C "$(rustc --print sysroot)" --exclude ./share -cf - . | tar -C "$tools" -xf -
    container=$(images from --pull-never "docker.io/library/debian:$(debian)-slim")
    images add --quiet "$container" "$tools" /usr/local/rust >/dev/null
    # This machine may reach the registry of crates by a proxy only that it trusts.
    images add --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ >/dev/null
    images config --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    images commit --quiet --rm "$container" "$name" >/dev/null
    rm -rf --one-file-system "$tools"
}

# An image of the Dockerfile, with what its stage $2 would have compiled.
image() {
    local options=(--build-context "$2=$CACHE/$3")
    if [ -n "${COMPILE:-}" ]; then options=(--build-arg "RUST_VERSION=$(rust)"); fi
    say "building the image $1"
    images build --isolation chroot --pull-never --layers --format docker --file "$TREE/docker/Dockerfile" \
        "${options[@]}" --target "$1" --tag "atomicity-$1" "$TREE" >"$CACHE/$1.log" 2>&1 ||
        { tail -n 30 "$CACHE/$1.log" >&2; die "the image $1 could not be built"; }
}

# --- running ----------------------------------------------------------------------------------

# Runs a command in the container of a service, with the environment, the volumes and the few rights that the compose file gives it.
in_service() {
    local service=$1 container line options=()
    shift
    container=$(cat "$CACHE/$service.container")
    while read -r line; do options+=(--env "$line"); done < <(compose environment "$service")
    while read -r line; do
        case $line in
            ./*) options+=(--volume "$TREE/docker/${line#./}") ;;
            # Buildah keeps what an image declares as a volume beside the container by itself.
            *) [ "${line#*:}" = /data ] || die "no image has the volume $line" ;;
        esac
    done < <(compose volumes "$service")
    images run --isolation chroot --network host --cap-drop all "${options[@]}" "$container" -- "$@"
}

# Its process, apart from those that brought it up.
process_of() { pgrep -f "^$1( |\$)"; }

# Postgres under the name and the port of the compose file, with the user that the image of Postgres makes.
postgres() {
    local dir=$1 url bin
    mkdir -p "$dir"
    chmod 0755 "$dir"
    echo 5432 >"$dir/port"
    url=$("$TREE/e2e/postgres.sh" start "$dir")
    bin=$("$TREE/e2e/postgres.sh" ensure)
    export PATH=$bin:$PATH PGHOST=127.0.0.1 PGPASSWORD PGDATABASE=postgres POSTGRES_USER=postgres
    PGPASSWORD=$(sed 's|.*://[^:]*:\(.*\)@.*|\1|' <<<"$url")
    psql --quiet "$url" --command "CREATE ROLE postgres SUPERUSER LOGIN PASSWORD '$PGPASSWORD'"
    # It has a name that the script gives away.
    psql --quiet --username postgres --command "ALTER ROLE atomicity RENAME TO of_the_test"
    not sh -c "$(compose healthy postgres)"
    sh "$TREE/docker/postgres-init.sh"
    sh -c "$(compose healthy postgres)" >/dev/null || die "Postgres counts as ill"
}
not() { ! "$@" >/dev/null 2>&1; }

# Without the internet, a homeserver ends where it wants to make itself known. Until then it has read its configuration, and made its key and its tables.
homeserver() {
    if in_service homeserver homeserver-entry 2>&1 | cat >"$CACHE/homeserver.log"; then die "the homeserver ended well, without a network"; fi
    grep -q 'DHT publish queried no nodes' "$CACHE/homeserver.log" || { tail "$CACHE/homeserver.log" >&2; die "the homeserver does not come up"; }
    [ "$(in_service homeserver stat -c %u:%a /data/secret)" = 10001:600 ] || die "the homeserver keeps its key where others read it"
    psql --quiet --username postgres --dbname homeserver --command 'SELECT 1 FROM users' >/dev/null
    say "the homeserver comes up to where it needs the internet"
}

plugin() {
    local health
    # Through a pipe: buildah writes a program's last words and its own to a file at the same place.
    if HOMESERVER_KEY='' in_service plugin plugin-entry run 2>&1 | cat >"$CACHE/plugin.log"; then die "without the homeserver's key the plugin must not run"; fi
    grep -q 'accounts.homeserver is missing' "$CACHE/plugin.log" || die "the plugin does not say that the homeserver's key is missing"
    in_service plugin plugin-entry run >"$CACHE/plugin.log" 2>&1 &
    health=$(images inspect --type image --format '{{range .Docker.Config.Healthcheck.Test}}{{.}} {{end}}' atomicity-plugin)
    [[ $health == "CMD curl "* ]] || die "the image has no health check, but: $health"
    # shellcheck disable=SC2086  # many arguments
    until_true in_service plugin ${health#CMD }
    in_service plugin atomicity-homeserver admin status | grep -q 'serving'
    # What needs the internet fails here.
    in_service plugin atomicity-homeserver doctor --json 2>/dev/null >"$CACHE/doctor.json" || true
    python3 - "$CACHE/doctor.json" <<'PYTHON' || die "doctor finds fault"
import json, sys
found = {check["check"]: check for check in json.load(open(sys.argv[1]))["checks"]}
for name in ["secret", "disk", "database", "schema", "rights", "port_http", "port_pubky", "port_admin"]:
    assert found[name]["level"] == "ok", found[name]
PYTHON
    say "the plugin runs, and is healthy"
}

# By names of this machine Caddy is its own authority, which nobody else has to trust. For the rest it does what docker/Caddyfile says.
web() {
    local name=credit.localhost ca=$CACHE/caddy/caddy/pki/authorities/local/root.crt config=$CACHE/caddy.json line
    local asks=(curl --silent --cacert "$ca" --resolve "$name:443:127.0.0.1" --resolve "$name:80:127.0.0.1" --output /dev/null --write-out '%{http_code}')
    rm -rf "$CACHE/caddy"
    while read -r line; do export "${line?}"; done < <(HOMESERVER_DOMAIN=home.localhost PLUGIN_URL=https://$name compose environment caddy)
    "$TOOLS/caddy" adapt --config "$TREE/docker/Caddyfile" --adapter caddyfile 2>"$CACHE/caddy.log" |
        python3 -c 'import json, sys
config = json.load(sys.stdin)
config["apps"].setdefault("pki", {})["certificate_authorities"] = {"local": {"install_trust": False}}
json.dump(config, sys.stdout)' >"$config"
    HOME=$CACHE XDG_DATA_HOME=$CACHE/caddy XDG_CONFIG_HOME=$CACHE/caddy "$TOOLS/caddy" run --config "$config" >>"$CACHE/caddy.log" 2>&1 &
    until_true answers 200 "${asks[@]}" "https://$name/v0/info"
    # What is for operators does not go out, and nothing goes in the clear.
    answers 404 "${asks[@]}" "https://$name/metrics" || die "Caddy shows the metrics to everybody"
    answers 404 "${asks[@]}" "https://$name/health/live" || die "Caddy shows to everybody how the plugin is"
    answers 308 "${asks[@]}" "http://$name/v0/info" || die "Caddy answers in the clear"
    say "Caddy serves the plugin, and only what is for everybody"
}
answers() { [ "$("${@:2}")" = "$1" ]; }

# Prometheus finds the plugin, and takes the alerts.
watched() {
    rm -rf "$CACHE/prometheus"
    "$TOOLS/prometheus" --config.file="$TREE/docker/prometheus.yml" --storage.tsdb.path="$CACHE/prometheus" \
        --web.listen-address=127.0.0.1:9090 >"$CACHE/prometheus.log" 2>&1 &
    until_true says 'up{job="atomicity"} == 1'
    says 'atomicity_ready == 1' || die "Prometheus does not know the plugin's own figures"
    [ "$(curl --silent http://127.0.0.1:9090/api/v1/rules | grep -o '"type":"alerting"' | wc -l)" = "$(grep -c '^ *- alert:' "$TREE/docker/alerts.yml")" ] ||
        die "Prometheus has not taken all alerts"
    curl --silent http://127.0.0.1:9090/api/v1/alerts | grep -q '"alerts":\[\]' || die "a plugin that is well sets an alert off"
    say "Prometheus looks at the plugin, and no alert is on"
}
says() { curl --silent --get --data-urlencode "query=$1" http://127.0.0.1:9090/api/v1/query | grep -q '"value"'; }

# The plugin ends by the signal that engines send, and has written nothing beside its volume: its root is read-only there.
ends() {
    local root
    kill -TERM "$(process_of "atomicity-homeserver run")"
    until_true not process_of "atomicity-homeserver run"
    grep -q '"stopped"' "$CACHE/plugin.log" || die "the plugin did not end in order"
    root=$(images mount "$(cat "$CACHE/plugin.container")")
    [ -z "$(find "$root" -xdev -user 10001 -not -path "$root/data*" -print -quit)" ] || die "the plugin writes beside its volume"
    say "the plugin ends in order"
}

inside() {
    ip link set lo up
    # The names of the network of the compose file.
    echo '127.0.0.1 localhost postgres homeserver plugin' >"$CACHE/hosts"
    mount --bind "$CACHE/hosts" /etc/hosts
    set -a
    # shellcheck disable=SC1091,SC2034  # the compose file takes them
    . "$TREE/docker/.env.example"
    # shellcheck disable=SC2034
    POSTGRES_PASSWORD=of-postgres HOMESERVER_DB_PASSWORD=of-the-homeserver PLUGIN_DB_PASSWORD=of-the-plugin
    # shellcheck disable=SC2034
    HOMESERVER_ADMIN_PASSWORD=of-the-admin HOMESERVER_KEY=8pinxxgqs41n4aididenw5apqp1urfmzdztr8jt4abrkdn435ewo GRAFANA_PASSWORD=of-grafana
    set +a
    for service in homeserver plugin; do
        images from --quiet --pull-never "localhost/atomicity-$service" >"$CACHE/$service.container"
    done
    trap '"$TREE/e2e/postgres.sh" remove "$CACHE/postgres"; images rm --all >/dev/null' EXIT
    postgres "$CACHE/postgres"
    homeserver
    plugin
    web
    watched
    ends
}

main() {
    [ "$(id -u)" = 0 ] || die "images can only be built by root here"
    "$TREE/e2e/tools.sh" containers
    mkdir -p "$CACHE"
    [ -n "${COMPILE:-}" ] || programs
    "$TREE/e2e/postgres.sh" ensure >/dev/null
    base_image
    [ -z "${COMPILE:-}" ] || rust_image
    image plugin build-plugin atomicity-homeserver
    image homeserver build-homeserver pubky-homeserver
    images images >&2
    # With the first process of the namespace, everything in it ends.
    unshare --mount --net --uts --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" inside </dev/null
}

case ${1:-} in
    inside) inside ;;
    *) main ;;
esac
