#!/usr/bin/env bash
# Builds octave-ws as static binaries for Linux, with nothing to be installed beside them:
#
#   packaging/static.sh [--lib] [TARGET...]
#
# By default for all of the targets below. The binaries are $OUT/octave-ws-TARGET; OUT is
# target/static unless it is set. With --lib, archives for C in their place, $OUT/liboctave_ws-TARGET.a,
# which need an unwinder of the C compiler's: -lunwind (LLVM) or -lgcc_eh (GCC). Needs Debian 12 with its security updates (as root, where its
# packages are not yet installed), PyPI and crates.io.
#
# Most of these targets have no standard library of Rust to download: it is built, too. Its source
# and the compiler are of one version, Debian's. The C compiler and linker is zig, which comes with
# musl for each of them.
set -euo pipefail
cd "$(dirname "$0")/.."

all=(
    x86_64-unknown-linux-musl
    aarch64-unknown-linux-musl
    armv7-unknown-linux-musleabihf # hard float
    arm-unknown-linux-musleabi     # ARMv6, soft float
    riscv64gc-unknown-linux-musl
    mipsel-unknown-linux-musl
)
is_lib=false
if [ "${1:-}" = --lib ]; then
    is_lib=true
    shift
fi
[ $# -gt 0 ] || set -- "${all[@]}"
for target; do
    case " ${all[*]} " in
    *" $target "*) ;;
    *)
        echo "static.sh: unknown target $target; there are ${all[*]}" >&2
        exit 64
        ;;
    esac
done

root=$PWD
out=${OUT:-target/static}
work=$root/target/static-build
mkdir -p "$out" "$work"

source=/usr/lib/rustlib/src/rust
if ! [ -x /usr/bin/cargo ] || ! [ -e "$source" ] || ! command -v readelf >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
        rustc-web cargo-web rust-web-src libstd-rust-web-dev python3-venv binutils ca-certificates
fi
version=$(/usr/bin/rustc --version | cut -d' ' -f2)
least=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
if ! printf '%s\n' "$least" "$version" | sort --check=quiet --version-sort; then
    echo "static.sh: rustc is $version, $least is needed: Debian 12 has it in its security updates" >&2
    exit 1
fi
if [ "rustc-$version" != "$(basename "$(readlink -f "$source")")" ]; then
    echo "static.sh: rustc is $version, its source is $(readlink -f "$source")" >&2
    exit 1
fi
if ! [ -x "$work/tools/bin/cargo-zigbuild" ]; then
    python3 -m venv "$work/tools"
    "$work/tools/bin/pip" install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.0
fi

# The same bytes from any folder, at any time.
if [ -z "${SOURCE_DATE_EPOCH:-}" ] && date=$(git log -1 --format=%ct 2>/dev/null); then
    export SOURCE_DATE_EPOCH=$date
fi
registry=${CARGO_HOME:-$HOME/.cargo}/registry/src

# Builds the archive for C.
build_lib() {
    # Only the architecture counts, for a relocatable link.
    local tools=$1
    case $1 in
    x86_64-*) tools=x86_64-linux-gnu ;;
    aarch64-*) tools=aarch64-linux-gnu ;;
    armv7-*) tools=arm-linux-gnueabihf ;;
    arm-*) tools=arm-linux-gnueabi ;;
    riscv64gc-*) tools=riscv64-linux-gnu ;;
    mipsel-*) tools=mipsel-linux-gnu ;;
    esac
    if ! command -v "$tools-ld" >/dev/null; then
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
            "binutils-${tools//_/-}"
    fi
    RUSTFLAGS="$flags $mode" \
        cargo-zigbuild rustc --quiet --locked --profile capi --lib --crate-type staticlib \
        --no-default-features --features capi --target-dir "$work" --target "$1" \
        -Z build-std=std,panic_unwind -Z build-std-features=optimize_for_size
    LD=$tools-ld OBJCOPY=$tools-objcopy AR=$tools-ar packaging/localize.sh \
        "$work/$1/capi/liboctave_ws.a" "$out/liboctave_ws-$1.a"
    ls -l "$out/liboctave_ws-$1.a"
}

# RUSTC_BOOTSTRAP: the standard library is built by options that are still unstable.
export PATH=$work/tools/bin:/usr/bin:/bin RUSTC=/usr/bin/rustc CARGO=/usr/bin/cargo RUSTC_BOOTSTRAP=1
flags="-C link-self-contained=no"
$is_lib || flags+=" -C force-unwind-tables=no"
flags+=" --remap-path-prefix=$registry=/cargo --remap-path-prefix=$root=/src"
for target; do
    # Position independent, so that each run has other addresses. zig does not know -static-pie.
    mode="-C relocation-model=pic -C link-arg=-pie"
    case $target in
    # Thumb code is a quarter smaller. ARMv6 has too little of it.
    armv7-*) mode+=" -C target-feature=+thumb-mode" ;;
    mipsel-*) mode="-C relocation-model=static" ;;
    esac
    if $is_lib; then
        build_lib "$target"
        continue
    fi
    RUSTFLAGS="$flags $mode" \
        cargo-zigbuild build --quiet --locked --profile gateway --bin octave-ws \
        --target-dir "$work" --target "$target" \
        -Z build-std=std,panic_abort -Z build-std-features=optimize_for_size
    binary=$work/$target/gateway/octave-ws
    if readelf --program-headers --dynamic "$binary" | grep -E 'INTERP|NEEDED'; then
        echo "static.sh: $target is not static" >&2
        exit 1
    fi
    cp --remove-destination "$binary" "$out/octave-ws-$target"
    ls -l "$out/octave-ws-$target"
done
