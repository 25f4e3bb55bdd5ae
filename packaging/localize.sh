#!/usr/bin/env bash
# Makes an archive whose one object shows nothing but the interface for C, so that a second Rust archive
# can be linked beside it:
#
#   packaging/localize.sh LIBRARY.a OUTPUT.a
#
# LD, OBJCOPY and AR name the tools of another target.
set -euo pipefail

names=$(dirname "$0")/../include/octave_ws.h
names=$(grep -o '\boctave_ws_[a-z_]*(' "$names" | tr -d '(' | sort -u)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
roots=()
keep=()
for name in $names; do
    roots+=(--undefined "$name")
    keep+=(--keep-global-symbol "$name")
done
"${LD:-ld}" -r --force-group-allocation "${roots[@]}" -o "$work/octave_ws.o" "$1"
"${OBJCOPY:-objcopy}" "${keep[@]}" "$work/octave_ws.o"
rm -f "$2"
"${AR:-ar}" rcsD "$2" "$work/octave_ws.o"
