#!/usr/bin/env bash
# Installs what building and testing need and this machine lacks, by its package manager.
#
#   tools.sh build     a C compiler and pkg-config, for the crates that bring C code
#   tools.sh lint      the Rust components rustfmt and clippy
#   tools.sh jose      another implementation of JOSE, against which our records are checked;
#                      prints the Python interpreter that has it
#   tools.sh bin-dir   prints where cargo puts the debug programs
#   tools.sh browser   a Chromium, for the test of the pages; prints its program; ends with 3 if the
#                      package manager has none
#   tools.sh axe       axe-core, which looks for what keeps people from using a page, for the same test; prints
#                      where it is; ends with 3 like browser
#   tools.sh promtool  Prometheus's own tool, which tries the alerts; prints its program; ends with 3 like browser
#   tools.sh fuzz      cargo-fuzz
#   tools.sh guide     debootstrap and what else the test of the guide needs
#   tools.sh containers
#                      buildah and what else the test of the containers needs
#   tools.sh book      mdbook, the system's or one in target/tools/bin
#   tools.sh deb       cargo-deb, in target/tools/bin, and the Debian tools that it calls
#   tools.sh lightning btcd and lnd, built from the sources that e2e/lightning names; prints where they are.
#                      Minutes, the first time
set -euo pipefail

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
readonly TREE
readonly LIGHTNING="${CARGO_TARGET_DIR:-$TREE/target}/lightning"
readonly TOOLS="${CARGO_TARGET_DIR:-$TREE/target}/tools"
readonly AXE_VERSION=4.14.1
# Of the package, and of the one file of it that is used.
readonly AXE_PACKAGE=1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b734f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5
readonly AXE_FILE=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
readonly JOSE_VENV="${CARGO_TARGET_DIR:-$TREE/target}/jose"

say() { printf '%s\n' "tools.sh: $*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Has apt-get look what there is.
apt_update() {
    if [ "$(id -u)" -eq 0 ]; then apt-get update -q; else sudo -n apt-get update -q; fi
}

# Installs Debian packages. Everything it prints goes to stderr.
apt_install() {
    local sudo=()
    have apt-get || { say "there is no apt-get here; please install: $*"; return 1; }
    if [ "$(id -u)" -ne 0 ]; then
        have sudo || { say "installing needs root: apt-get install $*"; return 1; }
        sudo=(sudo)
        [ -t 0 ] || sudo=(sudo -n)
    fi
    say "installing $* by apt-get"
    {
        "${sudo[@]}" apt-get update -q || true
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
    } >&2 </dev/null
}

build_tools() {
    have cargo || die "Rust is missing: see https://rustup.rs"
    if have cc && have pkg-config; then return; fi
    apt_install build-essential pkg-config || die "cannot build without a C compiler and pkg-config"
}

lint_tools() {
    cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt >&2 || die "rustfmt is missing"
    cargo clippy --version >/dev/null 2>&1 || rustup component add clippy >&2 || die "clippy is missing"
}

has_jose() { "$1" -c 'import jwcrypto.jws, jwcrypto.jwk' >/dev/null 2>&1; }

jose() {
    local python
    for python in "$JOSE_VENV/bin/python" /usr/bin/python3 python3; do
        if has_jose "$python"; then echo "$python"; return; fi
    done
    if have python3 && make_venv python3; then
        echo "$JOSE_VENV/bin/python"
        return
    fi
    apt_install python3 python3-jwcrypto || die "no Python with jwcrypto"
    has_jose /usr/bin/python3 || die "no Python with jwcrypto"
    echo /usr/bin/python3
}

# A virtual environment of our own, removed again if it cannot be completed.
make_venv() {
    rm -rf "$JOSE_VENV"
    mkdir -p "$(dirname "$JOSE_VENV")"
    "$1" -m venv "$JOSE_VENV" >/dev/null 2>&1 &&
        "$JOSE_VENV/bin/python" -m pip install -q 'jwcrypto>=1.5,<2' >&2 </dev/null &&
        has_jose "$JOSE_VENV/bin/python" && return 0
    rm -rf "$JOSE_VENV"
    return 1
}

browser() {
    local name
    for name in "${ATOMICITY_CHROMIUM:-}" chromium chromium-browser google-chrome; do
        if [ -n "$name" ] && have "$name"; then command -v "$name"; return; fi
    done
    # Ubuntu's package only points to a snap, which containers cannot run.
    if ! have apt-get || grep -q '^ID=ubuntu' /etc/os-release; then
        say "no Chromium, and no package of it for this system"
        exit 3
    fi
    apt_install chromium || die "no Chromium"
    command -v chromium || die "no Chromium, even after installing it"
}

# One file, fetched once and checked each time.
axe() {
    local file="$TOOLS/axe-core-$AXE_VERSION.js" dir
    if ! echo "$AXE_FILE  $file" | sha256sum --check --status 2>/dev/null; then
        if ! have npm && ! have apt-get; then
            say "no npm, and no package of it for this system"
            exit 3
        fi
        have npm || apt_install npm || die "no npm"
        say "fetching axe-core $AXE_VERSION"
        mkdir -p "$TOOLS"
        dir=$(mktemp -d "$TOOLS/axe.XXXXXX")
        (cd "$dir" && npm pack --silent "axe-core@$AXE_VERSION") >&2 </dev/null || die "could not fetch axe-core"
        echo "$AXE_PACKAGE  $dir/axe-core-$AXE_VERSION.tgz" | sha512sum --check --status || die "axe-core is not the one that was looked at"
        tar -xzf "$dir/axe-core-$AXE_VERSION.tgz" -C "$dir" package/axe.min.js
        mv "$dir/package/axe.min.js" "$file"
        rm -r "$dir"
        echo "$AXE_FILE  $file" | sha256sum --check --status || die "axe-core is not the one that was looked at"
    fi
    echo "$file"
}

# Out of Debian's package, which is not installed: it would run a server that nobody asked for.
alert_tool() {
    local name
    for name in promtool "$TOOLS/bin/promtool"; do
        if have "$name"; then command -v "$name"; return; fi
    done
    if ! have apt-get || ! have dpkg-deb; then
        say "no promtool, and no package of it for this system"
        exit 3
    fi
    out_of_package prometheus promtool
    echo "$TOOLS/bin/promtool"
}

# Programs of a Debian package $1 that is not installed.
out_of_package() {
    local dir program
    say "fetching $1"
    mkdir -p "$TOOLS/bin"
    dir=$(mktemp -d "$TOOLS/$1.XXXXXX")
    (cd "$dir" && { apt-get download -q "$1" || { apt_update && apt-get download -q "$1"; }; } &&
        dpkg-deb -x "$1"_*.deb .) >&2 </dev/null || { rm -r "$dir"; die "could not fetch Debian's package $1"; }
    for program in "${@:2}"; do mv "$dir/usr/bin/$program" "$TOOLS/bin/$program"; done
    rm -r "$dir"
}

fuzz_tools() {
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz >&2 || die "cargo-fuzz is missing"
}

# A program of a crate, in a place of our own that outlives a build.
cargo_tool() {
    [ -x "$TOOLS/bin/$1" ] && return
    say "building $1"
    cargo install --quiet --locked --root "$TOOLS" "${@:2}" "$1" >&2 </dev/null || die "$1 is missing"
}

deb_tools() {
    have dpkg-deb || die "Debian packages are made on Debian, or on a system like it"
    have dpkg-shlibdeps || apt_install dpkg-dev || die "dpkg-dev is missing"
    cargo_tool cargo-deb --no-default-features
}

# Some systems have a package of it, which is there in no time.
book_tools() {
    if have mdbook || [ -x "$TOOLS/bin/mdbook" ]; then return; fi
    if have apt-cache && apt-cache show mdbook >/dev/null 2>&1 && apt_install mdbook; then return; fi
    cargo_tool mdbook --no-default-features
}

guide_tools() {
    { have debootstrap && have ip && have unshare; } || apt_install debootstrap iproute2 util-linux || die "debootstrap is missing"
}

container_tools() {
    guide_tools
    { have buildah && python3 -c 'import yaml' 2>/dev/null; } || apt_install buildah python3-yaml || die "buildah is missing"
    # The packages of Python that is here may not be those of the system's.
    python3 -c 'import yaml' || die "no Python with yaml"
    # The programs of two images that are not to be had without a registry. As packages they would run servers.
    [ -x "$TOOLS/bin/caddy" ] || out_of_package caddy caddy
    [ -x "$TOOLS/bin/prometheus" ] || out_of_package prometheus prometheus
}

# The oldest Go that builds lnd, as its module says.
go_needed() { sed -n 's/^go //p' "$TREE/e2e/lightning/go.mod"; }

# Whether the Go at $1 is at least $2. Asked outside any module, so that it does not fetch a newer one first.
go_is_at_least() {
    local version
    version=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    printf '%s\n%s\n' "$2" "${version#go}" | sort -C -V
}

# Prints a Go that is new enough: one that is here, or one fetched as a module by a Go that is too old.
go_program() {
    local needed name any=
    needed=$(go_needed)
    for name in go /usr/local/go/bin/go /usr/lib/go/bin/go "$LIGHTNING/go"; do
        have "$name" || continue
        if go_is_at_least "$name" "$needed"; then command -v "$name"; return; fi
        [ "$name" = "$LIGHTNING/go" ] || any=$name
    done
    if [ -z "$any" ]; then
        apt_install golang-go ca-certificates || die "no Go: lnd needs at least $needed"
        any=/usr/bin/go
    fi
    go_is_at_least "$any" "$needed" && { echo "$any"; return; }
    fetch_go "$any" "$needed"
}

# Go's own toolchains are modules too, checked like any other. A Go of before 1.21 takes them for plain
# files: they lack the right to run, and their go.mod files have a name that does not make modules of them.
fetch_go() {
    local arch root modules="$LIGHTNING/toolchain"
    case $(uname -sm) in
        "Linux x86_64") arch=linux-amd64 ;;
        "Linux aarch64") arch=linux-arm64 ;;
        *) die "please install Go $2 or newer" ;;
    esac
    say "fetching Go $2"
    rm -rf "$modules"
    mkdir -p "$modules"
    (cd "$modules" && echo 'module toolchain' >go.mod &&
        GOFLAGS=-modcacherw GOMODCACHE=$modules/mod "$1" mod download "golang.org/toolchain@v0.0.1-go$2.$arch") >&2 </dev/null ||
        die "could not fetch Go $2"
    root=$modules/mod/golang.org/toolchain@v0.0.1-go$2.$arch
    chmod -R u+w "$root"
    chmod +x "$root"/bin/* "$root"/pkg/tool/*/*
    find "$root" -name _go.mod -execdir cp _go.mod go.mod ';'
    ln -sf "$root/bin/go" "$LIGHTNING/go"
    go_is_at_least "$LIGHTNING/go" "$2" || die "the fetched Go $2 does not run"
    echo "$LIGHTNING/go"
}

# Nothing is built if the programs are there and the sources are the same.
lightning() {
    local stamp go
    mkdir -p "$LIGHTNING"
    exec 9>"$LIGHTNING/.lock"
    have flock && flock 9
    stamp=$(cat "$TREE"/e2e/lightning/go.{mod,sum} | cksum)
    if [ -x "$LIGHTNING/lnd" ] && [ -x "$LIGHTNING/btcd" ] &&
        [ "$(cat "$LIGHTNING/built-from" 2>/dev/null)" = "$stamp" ]; then
        echo "$LIGHTNING"
        return
    fi
    go=$(go_program) || exit 1
    say "building btcd and lnd by $("$go" version)"
    (cd "$TREE/e2e/lightning" && CGO_ENABLED=0 nice "$go" build -p "${GO_PARALLEL:-2}" -trimpath -buildvcs=false -ldflags='-s -w' \
        -tags=chainrpc,invoicesrpc,signrpc,walletrpc -o "$LIGHTNING/" \
        github.com/btcsuite/btcd github.com/lightningnetwork/lnd/cmd/lnd) >&2 </dev/null || die "could not build btcd and lnd"
    echo "$stamp" >"$LIGHTNING/built-from"
    echo "$LIGHTNING"
}

case ${1:-} in
    build) build_tools ;;
    lint) lint_tools ;;
    jose) jose ;;
    bin-dir) echo "${CARGO_TARGET_DIR:-$TREE/target}/debug" ;;
    browser) browser ;;
    axe) axe ;;
    promtool) alert_tool ;;
    fuzz) fuzz_tools ;;
    deb) deb_tools ;;
    book) book_tools ;;
    guide) guide_tools ;;
    containers) container_tools ;;
    lightning) lightning ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
