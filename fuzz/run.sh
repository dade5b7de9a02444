#!/usr/bin/env bash
# Feeds every target with arbitrary bytes for SECONDS each (60 if not given), starting from the golden vectors.
# Needs cargo-fuzz. With a nightly Rust the address sanitizer watches too; without one it goes on with the stable one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

seconds=${1:-60}
cargo=(cargo)
options=()
if rustup toolchain list 2>/dev/null | grep -q '^nightly' && cargo +nightly --version >/dev/null 2>&1; then
    cargo=(cargo +nightly)
else
    export RUSTC_BOOTSTRAP=1
    options=(--sanitizer none)
fi

"${cargo[@]}" run --quiet --example seeds
for target in record_decode envelope_open channel_file evidence_verify link_parse log_decode onion_open pair_receive; do
    echo "fuzzing $target for $seconds s"
    "${cargo[@]}" fuzz run "${options[@]}" "$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -max_len=65536 -print_final_stats=1
done
