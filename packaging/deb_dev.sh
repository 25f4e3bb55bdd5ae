#!/usr/bin/env bash
# Builds liboctave-ws-dev, the library for C as a package for this machine's Debian and architecture:
# header, shared library, archive, pkg-config file and examples.
#
#   packaging/deb_dev.sh
#
# Makes liboctave-ws-dev_VERSION_ARCHITECTURE.deb in $OUT, or target/static where that is not set.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-target/static}
mkdir -p "$out"
command -v cargo-cinstall >/dev/null || cargo install --quiet --locked cargo-c@0.10.24
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && date=$(git log -1 --format=%ct 2>/dev/null); then
    export SOURCE_DATE_EPOCH=$date
fi
version=$(cargo pkgid --locked | sed 's/.*[#@]//')
architecture=$(dpkg --print-architecture)
libraries=/usr/lib/$(dpkg-architecture --query DEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch)
stage=$PWD/target/deb-dev
rm -rf "$stage"
cargo cinstall --locked --profile capi --no-default-features --destdir "$stage" \
    --prefix /usr --libdir "$libraries"
packaging/localize.sh "${CARGO_TARGET_DIR:-target}"/*/capi/liboctave_ws.a "$stage$libraries/liboctave_ws.a"
chmod 644 "$stage$libraries"/liboctave_ws.so.*.*.*

documents=$stage/usr/share/doc/liboctave-ws-dev
mkdir -p "$documents" "$stage/DEBIAN"
cp -r examples/c "$documents/examples"
cp packaging/debian/copyright "$documents"
sed 's/^octave-ws /liboctave-ws-dev /' packaging/debian/changelog | gzip -9n >"$documents/changelog.gz"
find "$stage/usr" -type d -exec chmod 755 {} +
# The symbols of libc that are linked say the oldest that has them.
libc=$(objdump -T "$stage$libraries/liboctave_ws.so" | grep -o 'GLIBC_2[0-9.]*' | sort -uV | tail -n 1)
cat >"$stage/DEBIAN/control" <<EOF
Package: liboctave-ws-dev
Version: $version-1
Architecture: $architecture
Section: libdevel
Priority: optional
Maintainer: octave-ws maintainers <maintainers@octave-ws.invalid>
Installed-Size: $(du -sk "$stage/usr" | cut -f1)
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1
Description: client library for the event WebSocket of Octave
 Header, shared library and archive for programs in C that receive the events
 of Octave, the IoT cloud of Sierra Wireless, in real time.
EOF
echo "activate-noawait ldconfig" >"$stage/DEBIAN/triggers"
dpkg-deb --build --root-owner-group "$stage" "$out/" >/dev/null
ls -l "$out/liboctave-ws-dev_$version-1_$architecture.deb"
