#!/usr/bin/env bash
# Makes the folder of a release: the crate, static binaries and archives, packages, what they are made of
# (CycloneDX), the licences of that, checksums.
#
#   packaging/release.sh [FOLDER]
#
# By default target/octave-ws-VERSION. Needs what static.sh and deb.sh need.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -n "$(git status --porcelain)" ]; then
    echo "release.sh: there are changes that are not committed" >&2
    exit 1
fi
version=$(cargo pkgid --locked | sed 's/.*[#@]//')
folder=${1:-target/octave-ws-$version}
rm -rf "$folder"
mkdir -p "$folder"
folder=$(realpath "$folder")

cargo package --quiet --locked
cp "target/package/octave-ws-$version.crate" "$folder"

OUT=$folder packaging/static.sh
OUT=$folder packaging/static.sh --lib
OUT=$folder packaging/deb.sh
OUT=$folder packaging/deb_dev.sh
cp target/licenses/THIRD-PARTY-LICENSES LICENSE-MIT LICENSE-APACHE "$folder"

command -v cargo-cyclonedx >/dev/null || cargo install --quiet --locked cargo-cyclonedx@0.5.9
cargo cyclonedx --quiet --format json --target x86_64-unknown-linux-musl \
    --override-filename octave-ws.cdx
sed "s|file://$PWD|file:///src|g" octave-ws.cdx.json >"$folder/octave-ws-$version.cdx.json"
rm octave-ws.cdx.json

(cd "$folder" && sha256sum -- * >SHA256SUMS)
ls -l "$folder"
