#!/usr/bin/env bash
# Builds the images of docker/Dockerfile and runs them with what docker/compose.yaml says, on a machine without a container engine and without a registry: by
# buildah, on an empty Debian of debootstrap. What is compiled in the Dockerfile is taken from this tree's own build instead. Caddy, Prometheus and Grafana
# are not run, and Postgres is the machine's own, set up by the script that the compose file has for it.
#
# It all happens in namespaces of its own (processes, mounts, network), so it ends as a whole. Needs root. Minutes, the first time: the images are kept in
# target/containers.
set -euo pipefail
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly TREE
readonly TARGET=${CARGO_TARGET_DIR:-$TREE/target}
readonly CACHE=$TARGET/containers

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

# What a registry would give: an empty Debian under the name that the Dockerfile knows.
base_image() {
    local name container empty
    name=docker.io/library/debian:$(sed -n 's/^ARG DEBIAN=//p' "$TREE/docker/Dockerfile")-slim
    if images inspect --type image "$name" >/dev/null 2>&1; then return; fi
    "$TREE/e2e/guide/run.sh" base
    empty=$(mktemp -d "$CACHE/base.XXXXXX")
    tar -C "$empty" --exclude './var/cache/apt/archives/*.deb' --exclude './var/lib/apt/lists/*' -xf "$("$TREE/e2e/guide/run.sh" system)"
    container=$(images from scratch)
    images add --quiet "$container" "$empty" / >/dev/null
    images commit --quiet --rm "$container" "$name" >/dev/null
    rm -rf --one-file-system "$empty"
}

# An image of the Dockerfile, with what its stage $2 would have compiled.
image() {
    say "building the image $1"
    images build --quiet --isolation chroot --pull-never --layers --format docker --file "$TREE/docker/Dockerfile" \
        --build-context "$2=$CACHE/$3" --target "$1" --tag "atomicity-$1" "$TREE" >"$CACHE/$1.log" 2>&1 ||
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
    ends
}

main() {
    [ "$(id -u)" = 0 ] || die "images can only be built by root here"
    "$TREE/e2e/tools.sh" containers
    mkdir -p "$CACHE"
    programs
    "$TREE/e2e/postgres.sh" ensure >/dev/null
    base_image
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
