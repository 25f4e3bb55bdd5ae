#!/usr/bin/env bash
# Builds packages for Debian and derivatives, with the static binary of static.sh:
#
#   packaging/deb.sh [ARCHITECTURE...]
#
# By default for all of those below, as octave-ws_VERSION_ARCHITECTURE.deb in $OUT, or target/static
# where that is not set.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A targets=(
    [amd64]=x86_64-unknown-linux-musl
    [arm64]=aarch64-unknown-linux-musl
    [armhf]=armv7-unknown-linux-musleabihf
)
[ $# -gt 0 ] || set -- amd64 arm64 armhf
for architecture; do
    if [ -z "${targets[$architecture]:-}" ]; then
        echo "deb.sh: unknown architecture $architecture; there are ${!targets[*]}" >&2
        exit 64
    fi
done

out=${OUT:-target/static}
command -v cargo-deb >/dev/null || cargo install --quiet --locked cargo-deb@3.8.0
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && date=$(git log -1 --format=%ct 2>/dev/null); then
    export SOURCE_DATE_EPOCH=$date
fi

# By a binary of this machine.
mkdir -p target/completions
for shell in bash zsh fish; do
    cargo run --quiet --locked --bin octave-ws -- completions "$shell" \
        >"target/completions/octave-ws.$shell"
done
# Of what is linked.
command -v cargo-about >/dev/null || cargo install --quiet --locked --features cli cargo-about@0.9.3
mkdir -p target/licenses
cargo about generate --locked --offline --features cli --fail -c packaging/licenses/about.toml \
    packaging/licenses/about.hbs >target/licenses/THIRD-PARTY-LICENSES
for architecture; do
    target=${targets[$architecture]}
    OUT=$out packaging/static.sh "$target"
    CARGO_TARGET_DIR=target/static-build cargo deb --quiet --locked --no-build --no-strip \
        --profile gateway --target "$target" --output "$out/"
done
ls -l "$out"/*.deb
