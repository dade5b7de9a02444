#!/usr/bin/env bash
# Follows docs/operating/quickstart.md word by word on an empty Debian: a fresh root made by debootstrap, Postgres inside it, the Debian packages, and a real
# homeserver on a DHT of its own beside it. It all happens in namespaces of its own (processes, mounts, network), so it ends as a whole and leaves nothing behind.
# The system is booted with its own systemd, so the unit runs in the sandbox that it describes; where a machine does not let systemd have a control group
# (most containers), e2e/guide/systemctl stands in for it.
#
#   run.sh             builds what is needed, then follows the guide
#   run.sh base        only makes the empty system that it begins with
#   run.sh system      says where that lies, as an archive
#
# Needs root. Minutes, the first time: the empty system is kept in target/guide.
set -euo pipefail
TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
readonly TREE
readonly GUIDE=$TREE/docs/operating/quickstart.md
readonly TARGET=${CARGO_TARGET_DIR:-$TREE/target}
readonly CACHE=$TARGET/guide
readonly GROUP=atomicity-guide.$$

say() { printf '%s\n' "guide: $*" >&2; }
die() { say "$*"; exit 1; }

# Where this machine gets its packages from, and which system they are of.
mirror() {
    {
        sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources
        sed -n 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .* main.*/\2/p' /etc/apt/sources.list
    } 2>/dev/null | head -n 1
}
suite() { sed -n 's/^VERSION_CODENAME=//p' /etc/os-release; }
system() { echo "$CACHE/$(suite)-systemd.tar"; }

# An empty system with what the guide will install already fetched, since the guide is followed without a network.
base() {
    local root suite
    suite=$(suite)
    [ ! -f "$(system)" ] || return 0
    mkdir -p "$CACHE"
    root=$(mktemp -d "$CACHE/root.XXXXXX")
    say "making an empty $suite"
    debootstrap --variant=minbase --include=ca-certificates,sudo,systemd-sysv "$suite" "$root" "$(mirror)" >"$CACHE/debootstrap.log" ||
        { tail -n 20 "$CACHE/debootstrap.log" >&2; rm -rf --one-file-system "$root"; die "debootstrap failed"; }
    chroot "$root" sh -c 'apt-get update -q && apt-get install -q -y --no-install-recommends --download-only postgresql curl adduser init-system-helpers' \
        >"$CACHE/fetch.log" 2>&1 || { tail -n 20 "$CACHE/fetch.log" >&2; rm -rf --one-file-system "$root"; die "fetching packages failed"; }
    tar -C "$root" --one-file-system -cf "$(system).new" .
    mv "$(system).new" "$(system)"
    rm -rf --one-file-system "$root"
}

# The commands of the guide, in order: everything in blocks that are marked as shell.
commands() { awk '/^```sh$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$GUIDE"; }

# What only the reader knows. Each line must be in the guide exactly once.
as_reader() {
    local text=$1 name value
    while read -r name value; do
        [ "$(grep -c "^$name=" <<<"$text")" = 1 ] || die "the guide does not set $name once"
        # shellcheck disable=SC2001  # a line among others
        text=$(sed "s|^$name=.*|$name=$value|" <<<"$text")
    done <<<"$2"
    printf '%s\n' "$text"
}

# Runs a command in the system, as root of it, with nothing of this shell's environment.
in_system() {
    local clean=(env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin)
    if [ -n "${INIT:-}" ]; then
        nsenter --target "$INIT" --all "${clean[@]}" "$@"
    else
        chroot "$ROOT" "${clean[@]}" "$@"
    fi
}

# Boots the system, and says by INIT which process is its first one. Fails where that can't be done here.
boot() {
    local try
    unshare --mount --pid --uts --ipc --fork --kill-child "$TREE/e2e/guide/boot.sh" "$ROOT" "$1" &
    for try in $(seq 60); do
        INIT=$(pgrep -P $! || true)
        case $([ -z "$INIT" ] || in_system systemctl is-system-running 2>/dev/null) in
            running | degraded) return 0 ;;
        esac
        kill -0 $! 2>/dev/null || break
        sleep 0.5
    done
    say "systemd does not come up here (attempt $try)"
    kill -KILL $! 2>/dev/null || true
    INIT=
    return 1
}

# Without systemd: file systems that programs expect, and a stand-in.
stand_in() {
    mount -t proc proc "$ROOT/proc"
    mount --rbind /dev "$ROOT/dev"
    mount -t tmpfs tmpfs "$ROOT/run"
    install -m 0755 "$TREE/e2e/guide/systemctl" "$ROOT/usr/local/bin/systemctl"
    # Packages start their services through this. Without it, and without an init system, Debian starts none.
    printf '#!/bin/sh\nexit 0\n' >"$ROOT/usr/sbin/policy-rc.d"
    chmod 0755 "$ROOT/usr/sbin/policy-rc.d"
}

# Runs in namespaces of its own, with the name of a control group for what it boots.
inside() {
    ROOT=$1
    local line homeserver bootstrap script
    ip link set lo up
    tar -C "$ROOT" -xf "$(system)"
    chmod 0755 "$ROOT"
    cp "$TARGET"/debian/atomicity{,-homeserver}_*.deb "$ROOT/root/"
    # As on every machine: it knows its own name.
    hostname guide
    echo guide >"$ROOT/etc/hostname"
    echo "127.0.0.1 localhost guide" >"$ROOT/etc/hosts"
    if boot "$2"; then
        say "the system has booted: the unit runs in its sandbox"
    else
        stand_in
        say "without systemd, a stand-in does what the unit says, in no sandbox"
    fi

    # The homeserver that the reader has. It ends when its standard input does.
    coproc WORLD { exec "$TREE/e2e/postgres.sh" run "$TARGET/debug/atomicity-world"; }
    read -r line <&"${WORLD[0]}" || die "the homeserver did not start"
    homeserver=$(grep -o '"homeserver":"[^"]*"' <<<"$line" | cut -d '"' -f 4)
    bootstrap=$(grep -o '"bootstrap":\[[^]]*\]' <<<"$line" | sed 's/^"bootstrap"://')

    # A network of its own is not the internet: programs must be told. Nothing else differs from what a reader has.
    local nodes
    nodes=$(tr -d '[]"' <<<"$bootstrap")
    printf '%s\n' ATOMICITY_HOMESERVER_TESTNET=true "ATOMICITY_HOMESERVER_DHT_BOOTSTRAP=$nodes" >"$ROOT/etc/atomicity-homeserver.env"
    chmod 0600 "$ROOT/etc/atomicity-homeserver.env"
    echo 'Defaults env_keep += "ATOMICITY_HOMESERVER_TESTNET ATOMICITY_HOMESERVER_DHT_BOOTSTRAP"' >"$ROOT/etc/sudoers.d/guide"
    printf '[network]\ntestnet = true\nrelays = []\ndht_bootstrap = %s\n' "$bootstrap" >"$ROOT/root/wallet.toml"

    script=$(as_reader "$(commands)" "HOMESERVER $homeserver
PUBLIC_IP 127.0.0.1")
    {
        echo 'set -euo pipefail; cd /root'
        echo "export HOME=/root DEBIAN_FRONTEND=noninteractive ATOMICITY_CONFIG=/root/wallet.toml ATOMICITY_PASSPHRASE='a passphrase of the reader'"
        echo "export ATOMICITY_HOMESERVER_TESTNET=true ATOMICITY_HOMESERVER_DHT_BOOTSTRAP=$nodes"
        echo 'SECONDS=0; set -x'
        printf '%s\n' "$script"
        echo '{ set +x; } 2>/dev/null; echo "guide: following it took $SECONDS seconds, apart from what is downloaded and read"; set -x'
        cat "$TREE/e2e/guide/after.sh"
    } >"$ROOT/root/guide.sh"
    in_system /bin/bash /root/guide.sh
    say "every command of the guide did what it says"
}

# The control groups of what was booted, from the innermost one on.
rm_group() { find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -exec rmdir {} + 2>/dev/null || true; }

main() {
    local status=0
    [ "$(id -u)" = 0 ] || die "an empty system can only be made by root"
    "$TREE/e2e/tools.sh" guide
    "$TREE/packaging/deb.sh" "${PROFILE:-dev}"
    cargo build --locked --workspace --bins
    "$TREE/e2e/postgres.sh" ensure >/dev/null
    base
    ROOT=$(mktemp -d "$CACHE/root.XXXXXX")
    trap 'rm -rf --one-file-system "$ROOT"; rm_group' EXIT
    say "following docs/operating/quickstart.md"
    # With the first process of the namespace, everything in it ends.
    unshare --mount --net --uts --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" inside "$ROOT" "$GROUP" </dev/null || status=$?
    return "$status"
}

case ${1:-} in
    inside) inside "$2" "$3" ;;
    base) base ;;
    system) system ;;
    *) main ;;
esac
