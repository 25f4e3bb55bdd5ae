#!/usr/bin/env bash
# Shows that a package works on Debian: installs it in a container, runs its services under systemd
# against the stand-in, and purges it. Then the same without a package, as packaging/README.md
# says.
#
#   packaging/check_deb.sh octave-ws_VERSION_ARCHITECTURE.deb
#
# Needs root, debootstrap, systemd-container, lintian, and target/release/octave-sim (cargo build
# --release --all-features). The container has this machine's network.
set -euo pipefail
deb=$(realpath "$1")
cd "$(dirname "$0")/.."

pristine=target/debian
root=target/debian-run
if ! [ -e "$pristine/ready" ]; then
    rm -rf "$pristine"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,cron,logrotate,man-db \
        bookworm "$pristine" >target/debootstrap.log
    touch "$pristine/ready"
fi
lintian --fail-on error "$deb"

rm -rf "$root"
cp -a "$pristine" "$root"
mkdir "$root/check"
cp "$deb" "$root/check/octave-ws.deb"
cp packaging/check_deb_inside.sh "$root/check/check.sh"
cp -r packaging target/release/octave-sim "$root/check/"
# The same binary, copied by hand.
dpkg-deb --fsys-tarfile "$deb" | tar -xO ./usr/bin/octave-ws >"$root/check/octave-ws-here-linux-musl"
cat >"$root/etc/systemd/system/check.service" <<'EOF'
[Unit]
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/check/check.sh
ExecStopPost=/bin/sh -c '[ -e /check/booting ] || systemctl --no-block poweroff'
StandardOutput=append:/check/check.log
StandardError=inherit

[Install]
WantedBy=default.target
EOF
ln -sf /etc/systemd/system/check.service "$root/etc/systemd/system/multi-user.target.wants/"

cat >"$root/check/run.sh" <<EOF
cat "\$OCTAVE_CA_FILE" >$root/check/ca.pem
printf '%s' "\$OCTAVE_TOKEN" >$root/check/token
cat >$root/check/config.json <<JSON
{
  "endpoint": "\$OCTAVE_ENDPOINT",
  "ca_file": "/etc/octave-ws/ca.pem",
  "token_file": "/etc/octave-ws/token",
  "company": "\$OCTAVE_COMPANY",
  "user": "\$OCTAVE_USER"
}
JSON
boot() {
    timeout 120 systemd-nspawn --quiet --boot --register=no --keep-unit --directory=$root
}
# It asks for a second one by this.
boot || { [ \$? -eq 133 ] && boot; }
EOF
target/release/octave-sim --rate 20 -- bash "$root/check/run.sh" >target/container.log 2>&1 || true
cat "$root/check/check.log"
grep -qx 'all is well' "$root/check/check.log"
