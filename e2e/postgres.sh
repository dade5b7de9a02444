#!/usr/bin/env bash
# A private Postgres for tests and the demo: it listens on loopback only, on a free port, with a
# password of its own, and never touches a Postgres it did not start.
#
#   postgres.sh ensure          finds Postgres >= 14, or installs it; prints the directory of its programs
#   postgres.sh start  [DIR]    creates the cluster in DIR if needed, starts it, prints its URL
#   postgres.sh url    [DIR]    prints the URL of the running server
#   postgres.sh pid    [DIR]    prints the process id of the running server
#   postgres.sh stop   [DIR]    stops it
#   postgres.sh remove [DIR]    stops it and deletes DIR
#   postgres.sh run CMD…        runs CMD with a fresh server and its URL in the environment, then removes it
#   postgres.sh run --durable CMD…   the same with a server that waits for its disk, as in operation: to measure
#
# DIR is `.postgres/main` in this tree unless given.
set -euo pipefail

readonly MIN_VERSION=14
readonly ROLE=atomicity
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly TREE

# Settings of some other server in the environment must not leak into ours.
unset PGDATA PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGPASSFILE PGDATABASE PGSERVICE PGOPTIONS PGSSLMODE

say() { printf '%s\n' "postgres.sh: $*" >&2; }
die() { say "$*"; exit 1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# --- which user runs the server -------------------------------------------------------------

# Postgres refuses to run as root, so root hands over to an unprivileged user.
server_user() {
    local user
    is_root || { id -un; return 0; }
    for user in postgres nobody; do
        if id -u "$user" >/dev/null 2>&1; then echo "$user"; return 0; fi
    done
    die "Postgres does not run as root, and there is no user 'postgres' or 'nobody' to run it"
}

as_server_user() {
    if ! is_root; then "$@"; return 0; fi
    local user
    user=$(server_user)
    if command -v setpriv >/dev/null 2>&1; then
        setpriv --reuid="$(id -u "$user")" --regid="$(id -g "$user")" --clear-groups -- "$@"
    elif command -v runuser >/dev/null 2>&1; then
        runuser -u "$user" -- "$@"
    else
        su -s "$BASH" "$user" -c "$(printf '%q ' "$@")"
    fi
}

# --- finding and installing -----------------------------------------------------------------

# Prints the major version of the server in directory $1, if the server's user can run it.
version_in() {
    local program
    for program in postgres initdb pg_ctl; do [ -x "$1/$program" ] || return 1; done
    (cd / && as_server_user "$1/postgres" --version 2>/dev/null) | sed -n 's/^[^0-9]*\([0-9][0-9]*\).*/\1/p'
}

# Prints the directory of the newest usable Postgres.
find_postgres() {
    local dir version best='' best_version=0 on_path
    on_path=$(command -v postgres 2>/dev/null || true)
    [ -z "$on_path" ] || on_path=$(dirname "$(readlink -f "$on_path")")
    for dir in "$on_path" /usr/lib/postgresql/*/bin /usr/local/pgsql/bin /usr/pgsql-*/bin; do
        [ -d "$dir" ] || continue
        version=$(version_in "$dir") || continue
        if [ -n "$version" ] && [ "$version" -ge "$MIN_VERSION" ] && [ "$version" -gt "$best_version" ]; then
            best=$dir best_version=$version
        fi
    done
    [ -n "$best" ] && echo "$best"
}

install_postgres() {
    local sudo=()
    command -v apt-get >/dev/null 2>&1 ||
        die "no Postgres >= $MIN_VERSION found and no apt-get to install it: please install the Postgres server yourself"
    if ! is_root; then
        command -v sudo >/dev/null 2>&1 ||
            die "no Postgres >= $MIN_VERSION found; installing it needs root: apt-get install postgresql"
        sudo=(sudo)
        [ -t 0 ] || sudo=(sudo -n)
    fi
    say "installing Postgres by apt-get"
    # Debian's package would also create and start a server of its own, which nobody asked for.
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        "${sudo[@]}" mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | "${sudo[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    {
        "${sudo[@]}" apt-get update -q || true
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            -o Dpkg::Options::=--force-confold -o DPkg::Lock::Timeout=300 postgresql
    } >&2 </dev/null || die "apt-get could not install the package 'postgresql'"
}

ensure() {
    # The explicit 0: in an exit trap, a bare `return` would give the status of before the trap.
    find_postgres && return 0
    install_postgres
    find_postgres || die "no Postgres >= $MIN_VERSION, even after installing the package 'postgresql'"
}

# --- the cluster ----------------------------------------------------------------------------
#
# DIR belongs to the caller and holds `base` (where the cluster lies), `password`, `port`, `lock`.
# The cluster lies in DIR too, unless the server's user cannot get there.

base_of() { [ -s "$1/base" ] && cat "$1/base"; }

# Prints the process id of the server of DIR $1, if it runs. A recycled process id is told apart by
# the working directory, which for a Postgres server is its data directory.
running_pid() {
    local base pid
    base=$(base_of "$1") || return 1
    [ -s "$base/data/postmaster.pid" ] || return 1
    pid=$(head -n 1 "$base/data/postmaster.pid")
    case $pid in '' | *[!0-9]*) return 1 ;; esac
    [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$base/data" ] && echo "$pid"
}

usable_by_server() {
    if is_root; then chown "$(server_user)" "$1"; fi
    # shellcheck disable=SC2016  # expanded by the inner shell
    (cd / && as_server_user "$BASH" -c 'cd "$1" && probe=$(mktemp probe.XXXXXX) && rm "$probe"' - "$1") 2>/dev/null
}

# Chooses and creates the directory of the cluster: in DIR, else where everybody may go.
make_base() {
    local parent base
    for parent in "$1" "${TMPDIR:-/tmp}" /tmp /var/tmp; do
        [ -d "$parent" ] || continue
        base=$(mktemp -d "$parent/atomicity-postgres.XXXXXX" 2>/dev/null) || continue
        base=$(cd "$base" && pwd -P)
        if usable_by_server "$base"; then
            echo "$base"
            return 0
        fi
        rm -rf "$base"
    done
    die "found no directory that the user '$(server_user)' may write to (tried $1, ${TMPDIR:-/tmp}, /tmp, /var/tmp)"
}

create_cluster() {
    local dir=$1 bin=$2 base
    base=$(make_base "$dir")
    (umask 077 && head -c 24 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$dir/password")
    (umask 077 && cat "$dir/password" >"$base/password")
    if is_root; then chown "$(server_user)" "$base/password"; fi
    (cd / && as_server_user "$bin/initdb" -D "$base/data" -U "$ROLE" --pwfile="$base/password" \
        --auth=scram-sha-256 --encoding=UTF8 --locale=C --no-sync) >"$dir/initdb.log" 2>&1 ||
        { cat "$dir/initdb.log" >&2; rm -rf "$base"; die "initdb failed"; }
    rm -f "$base/password"
    # TCP on loopback only: a unix socket's path is limited to some 100 bytes, which trees exceed.
    (cd / && as_server_user tee -a "$base/data/postgresql.conf" >/dev/null) <<CONF
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 600
shared_buffers = 128MB
logging_collector = off
$SETTINGS
CONF
    # Written last: a cluster without it was never finished, and is made anew.
    printf '%s\n' "$base" >"$dir/base.new" && mv "$dir/base.new" "$dir/base"
}

# A random port below the range that the kernel gives to outgoing connections.
random_port() { echo $((15000 + (RANDOM * 32768 + RANDOM) % 17000)); }

# After an unclean stop Postgres judges its own pid file, but refuses to start if another program
# has that process id by now. Only then we take the file away: it also guards against processes of
# the old server that still run.
drop_stale_pid_file() {
    local pid
    pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null || true)
    [ -z "$pid" ] || [ ! -d "/proc/$pid" ] || rm -f "$1/data/postmaster.pid"
}

try_start() {
    local base=$1 bin=$2 port=$3
    (cd / && as_server_user "$bin/pg_ctl" -D "$base/data" -l "$base/log" -w -t 120 -o "-p $port" start) \
        >/dev/null 2>&1 </dev/null 9>&- 8>&-
}

start() {
    local dir=$1 bin base port attempt seen news
    bin=$(ensure)
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd -P)
    exec 9>"$dir/lock"
    flock 9
    if running_pid "$dir" >/dev/null; then
        url "$dir"
        return 0
    fi
    if ! { base=$(base_of "$dir") && [ -d "$base/data" ]; }; then
        create_cluster "$dir" "$bin"
        base=$(base_of "$dir")
    fi
    drop_stale_pid_file "$base"
    port=$(cat "$dir/port" 2>/dev/null || random_port)
    for attempt in $(seq 30); do
        seen=$(stat -c %s "$base/log" 2>/dev/null || echo 0)
        if try_start "$base" "$bin" "$port"; then
            printf '%s\n' "$port" >"$dir/port"
            url "$dir"
            exec 9>&-
            return 0
        fi
        news=$(tail -c "+$((seen + 1))" "$base/log" 2>/dev/null || true)
        if [[ $news == *'shared memory block'* ]]; then
            sleep 1 # processes of a server that was killed are still ending
        elif [[ $news == *'could not bind'* ]]; then
            port=$(random_port)
        else
            break
        fi
    done
    tail -n 30 "$base/log" >&2 || true
    die "Postgres did not start in $base (attempt $attempt)"
}

url() {
    running_pid "$1" >/dev/null || die "no server of ours runs in $1"
    printf 'postgres://%s:%s@127.0.0.1:%s/postgres\n' "$ROLE" "$(cat "$1/password")" \
        "$(sed -n 4p "$(base_of "$1")/data/postmaster.pid" | tr -d ' ')"
}

stop() {
    local dir=$1 bin base
    running_pid "$dir" >/dev/null || return 0
    bin=$(ensure)
    base=$(base_of "$dir")
    (cd / && as_server_user "$bin/pg_ctl" -D "$base/data" -m fast -w -t 30 stop) >/dev/null 2>&1 ||
        (cd / && as_server_user "$bin/pg_ctl" -D "$base/data" -m immediate -w -t 30 stop) >/dev/null 2>&1 ||
        die "the server in $base does not stop"
}

remove() {
    local dir=$1 base
    [ -d "$dir" ] || return 0
    stop "$dir"
    if base=$(base_of "$dir"); then rm -rf "$base"; fi
    rm -rf "$dir"
}

# --- running a command with a server ---------------------------------------------------------

# Removes servers of earlier runs that were killed before they could clean up: their lock is free.
sweep() {
    local old
    for old in "$TREE"/.postgres/run.*; do
        [ -f "$old/owner" ] || continue
        (exec 8>>"$old/owner" && flock -n 8 && remove "$old" 8>&-) || true
    done
}

# What a server that is removed anyway may do without. It survives the end of any process like another one, and no loss of power.
readonly THROWAWAY='fsync = off
full_page_writes = off'
SETTINGS=''

run() {
    local child status=0 server
    if [ "${1:-}" = --durable ]; then shift; else SETTINGS=$THROWAWAY; fi
    [ $# -gt 0 ] || die "run needs a command"
    mkdir -p "$TREE/.postgres"
    sweep
    RUN_DIR=$(mktemp -d "$TREE/.postgres/run.XXXXXX")
    chmod 755 "$RUN_DIR"
    # Renamed only once it is locked, so that no sweep takes this directory for an abandoned one.
    exec 8>"$RUN_DIR/owner.new"
    flock 8
    mv "$RUN_DIR/owner.new" "$RUN_DIR/owner"
    trap 'trap "" INT TERM HUP; remove "$RUN_DIR"' EXIT
    server=$(start "$RUN_DIR" 8>&-)
    export ATOMICITY_TEST_POSTGRES=$server
    export TEST_PUBKY_CONNECTION_STRING="$server?pubky-test=true"
    ATOMICITY_POSTGRES_BIN=$(ensure)
    export ATOMICITY_POSTGRES_BIN
    # In a process group of its own, so that stopping this script stops all of the command.
    set -m
    "$@" 8>&- &
    child=$!
    set +m
    trap 'kill -INT -- "-$child" 2>/dev/null' INT
    trap 'kill -TERM -- "-$child" 2>/dev/null' TERM HUP
    while :; do
        status=0
        wait "$child" || status=$?
        kill -0 "$child" 2>/dev/null || break # a signal ends `wait` early
    done
    exit "$status"
}

main() {
    local command=${1:-help} dir
    shift || true
    if [ "$command" = run ]; then
        run "$@"
    fi
    dir=${1:-$TREE/.postgres/main}
    case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
    case $command in
        ensure) ensure ;;
        start) start "$dir" ;;
        url) url "$dir" ;;
        pid) running_pid "$dir" || die "no server of ours runs in $dir" ;;
        stop) stop "$dir" ;;
        remove) remove "$dir" ;;
        *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
    esac
}

main "$@"
