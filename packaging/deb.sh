#!/usr/bin/env bash
# Makes the Debian packages `atomicity` and `atomicity-homeserver` in target/debian, and looks at them with lintian if that is there.
#
#   deb.sh            from programs that are built for release
#   deb.sh dev        from programs that are built for tests: quickly made, large and slow
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly PROFILE=${1:-release}
readonly TARGET=${CARGO_TARGET_DIR:-$PWD/target}
readonly STAGE=$PWD/target/deb
case $PROFILE in dev) programs=$TARGET/debug ;; *) programs=$TARGET/$PROFILE ;; esac

export PATH="$TARGET/tools/bin:$PATH"
e2e/tools.sh deb
# Those for tests are built together with all others, as tests are: so both need them once.
case $PROFILE in dev) packages=(--workspace) ;; *) packages=(-p atomicity-client -p atomicity-plugin) ;; esac
cargo build --locked --profile "$PROFILE" "${packages[@]}" --bins

# What comes beside the programs, made by them.
rm -rf "$STAGE"
for program in atomicity atomicity-homeserver; do
    mkdir -p "$STAGE/$program"
    "$programs/$program" man "$STAGE/$program/man"
    "$programs/$program" completions bash >"$STAGE/$program/completions.bash"
    "$programs/$program" completions zsh >"$STAGE/$program/completions.zsh"
    "$programs/$program" completions fish >"$STAGE/$program/completions.fish"
done
sed 's|/usr/local/bin/|/usr/bin/|' docs/operating/atomicity-homeserver.service \
    >"$STAGE/atomicity-homeserver/atomicity-homeserver.service"

# Whoever reads the changelog of a package looks for this form. The notes themselves are in CHANGELOG.md.
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
date=$(date -R -u -d "@${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}")
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' client/Cargo.toml)
for package in atomicity atomicity-homeserver; do
    cat >"$STAGE/$package/changelog" <<TEXT
$package ($version-1) unstable; urgency=medium

  * What has changed stands in /usr/share/doc/$package/CHANGELOG.md.

 -- $maintainer  $date
TEXT
done

for package in atomicity-client atomicity-plugin; do
    cargo deb --quiet --no-build --profile "$PROFILE" -p "$package"
done
if command -v lintian >/dev/null; then
    lintian --allow-root --profile debian --fail-on error --suppress-tags bad-distribution-in-changes-file \
        "$TARGET"/debian/atomicity{,-homeserver}_"$version"-1_*.deb
fi
ls -1 "$TARGET"/debian/atomicity{,-homeserver}_"$version"-1_*.deb
