#!/usr/bin/env bash
# What check_deb.sh does in the container.
set -euo pipefail
trap 'echo "failed in line $LINENO"; journalctl --no-pager -n 30 -u "octave-ws*"' ERR

# What it did before it booted again, with a service that is away.
if [ -e /check/booting ]; then
    rm /check/booting
    began=$(systemctl show -P UserspaceTimestampMonotonic)
    reached=$(systemctl show -P ActiveEnterTimestampMonotonic multi-user.target)
    echo "multi-user.target after $(((reached - began) / 1000)) ms"
    [ $((reached - began)) -lt 60000000 ]
    systemctl is-active octave-ws.service
    systemctl disable --now octave-ws.service
    rm /var/lib/octave-ws/*
    exec "$0" running
fi

if [ "${1:-}" != running ]; then
    dpkg -i /check/octave-ws.deb
fi
octave-ws --version
man -w octave-ws
[ "$(stat -c '%a %U %G' /etc/octave-ws)" = "750 root octave-ws" ]
[ "$(stat -c '%a %U %G' /etc/octave-ws/token)" = "640 root octave-ws" ]
[ "$(stat -c '%a %U %G' /var/lib/octave-ws)" = "750 octave-ws octave-ws" ]
[ "$(systemctl is-enabled octave-ws)" = disabled ] || true
systemd-analyze verify octave-ws.service octave-ws@demo.service

# What an engineer edits.
edit() {
    install -m 644 /check/ca.pem /etc/octave-ws/ca.pem
    cat /check/config.json >/etc/octave-ws/config.json
    cat /check/token >/etc/octave-ws/token
    echo /demo/devices/gw1/temperature >>/etc/octave-ws/streams
}
# The code of the recipes that has a word in it.
recipe() {
    awk -v word="$1" '
        /^```/ { if (is_code && index(code, word)) printf "%s", code; is_code = !is_code; code = ""; next }
        is_code { code = code $0 "\n" }
    ' /check/packaging/README.md
}
# The line for cron, as cron runs it, and shorter.
run_by_cron() {
    local line command
    line=$(recipe cron.d | grep -v '^#')
    command=$(echo "$line" | cut -d' ' -f7- | sed 's/\\%/%/g; s/--duration 1m/--duration 1s/')
    runuser -u "$(echo "$line" | cut -d' ' -f6)" -- \
        env -i HOME=/var/lib/octave-ws PATH=/usr/bin:/bin sh -c "$command"
    ls /var/lib/octave-ws/20*.jsonl
}

# Nothing of what an operator does waits for the service.
at_once() { timeout 10 "$@"; }
upkeep() {
    echo '{}' >>/var/lib/octave-ws/events.jsonl
    at_once logrotate -f /etc/logrotate.d/octave-ws
    at_once dpkg -i /check/octave-ws.deb
}
if [ "${1:-}" != running ]; then
    edit
    upkeep
    # It takes connections, and does not answer.
    printf '[Socket]\nListenStream=127.0.0.1:4433\n' >/etc/systemd/system/away.socket
    printf '[Service]\nExecStart=/bin/sleep infinity\n' >/etc/systemd/system/away.service
    systemctl daemon-reload
    systemctl enable --now away.socket
    sed -i 's|"endpoint": ".*"|"endpoint": "https://127.0.0.1:4433"|' /etc/octave-ws/config.json
    at_once systemctl enable --now octave-ws.service
    at_once systemctl reload octave-ws.service
    upkeep
    systemctl is-active octave-ws.service
    # One whose credentials are refused.
    edit
    echo nonsense >/etc/octave-ws/token
    systemctl restart octave-ws.service
    until [ "$(systemctl show -P SubState octave-ws.service)" = auto-restart ]; do sleep 0.1; done
    upkeep
    edit
    sed -i 's|"endpoint": ".*"|"endpoint": "https://127.0.0.1:4433"|' /etc/octave-ws/config.json
    touch /check/booting
    systemctl --no-block reboot
    exit
fi
edit
for file in config.json token streams; do
    other=/etc/octave-ws/demo.${file/config./}
    install -m 640 -g octave-ws "/etc/octave-ws/$file" "$other"
done

systemctl enable --now octave-ws.service octave-ws@demo.service
systemctl is-active octave-ws.service octave-ws@demo.service
pid=$(systemctl show --property MainPID --value octave-ws.service)
[ "$(ps -o user= -p "$pid" 2>/dev/null || stat -c %U "/proc/$pid")" = octave-ws ]
lines() { grep -c '"kind":"event"' "$1" || true; }
for file in events demo; do
    until [ "$(lines "/var/lib/octave-ws/$file.jsonl")" -ge 10 ]; do sleep 0.1; done
done
systemctl status --no-pager octave-ws.service | grep -E 'Status|Memory'
for unit in octave-ws.service octave-ws@demo.service; do
    systemd-analyze security --no-pager "$unit" | tail -1
    systemd-analyze security --no-pager --threshold=20 "$unit" >/dev/null
done

runuser -u octave-ws octave-ws doctor
run_by_cron

logrotate -f /etc/logrotate.d/octave-ws
[ -s /var/lib/octave-ws/events.jsonl.1 ]
until [ "$(lines /var/lib/octave-ws/events.jsonl)" -ge 1 ]; do sleep 0.1; done
[ "$(systemctl show --property MainPID --value octave-ws.service)" = "$pid" ]

# The token is rotated: the service refuses the old one, until the file has the new one.
serve() {
    systemctl stop cloud.service 2>/dev/null || true
    systemd-run --quiet --unit=cloud --property=StandardOutput=null \
        /check/octave-sim --rate 20 --state /check/state --listen 127.0.0.1:4434
    until [ -s /check/state/ca.pem ]; do sleep 0.1; done
}
serve
cat /check/state/ca.pem >/etc/octave-ws/ca.pem
cat /check/state/token >/etc/octave-ws/token
sed -i 's|"endpoint": ".*"|"endpoint": "https://127.0.0.1:4434"|' /etc/octave-ws/config.json
systemctl restart octave-ws.service
rm /var/lib/octave-ws/events.jsonl
systemctl reload octave-ws.service
until [ "$(lines /var/lib/octave-ws/events.jsonl)" -ge 1 ]; do sleep 0.1; done
pid=$(systemctl show --property MainPID --value octave-ws.service)
echo rotated >/check/state/token
serve
until journalctl -b -u octave-ws.service | grep -q 'invalid credentials'; do sleep 0.1; done
rotated=$SECONDS
echo rotated >/etc/octave-ws/token
before=$(lines /var/lib/octave-ws/events.jsonl)
until [ "$(lines /var/lib/octave-ws/events.jsonl)" -gt "$before" ]; do sleep 0.1; done
echo "events $((SECONDS - rotated)) s after the token was rotated"
[ $((SECONDS - rotated)) -lt 120 ]
[ "$(systemctl show --property MainPID --value octave-ws.service)" = "$pid" ]
systemctl stop cloud.service
edit
systemctl restart octave-ws.service

# A second installation restarts what runs.
pid=$(systemctl show --property MainPID --value octave-ws.service)
dpkg -i /check/octave-ws.deb
systemctl is-active octave-ws.service
[ "$(systemctl show --property MainPID --value octave-ws.service)" != "$pid" ]

dpkg --remove octave-ws
for file in events demo; do
    tail -n 1 "/var/lib/octave-ws/$file.jsonl" | grep -q '"kind":"summary".*"exit":0'
done
# What is mounted there is another's.
mkdir /var/lib/octave-ws/disk
mount -t tmpfs none /var/lib/octave-ws/disk
touch /var/lib/octave-ws/disk/kept
dpkg --purge octave-ws
[ -e /var/lib/octave-ws/disk/kept ]
umount /var/lib/octave-ws/disk
rm -r /var/lib/octave-ws
left=$(find /etc /usr /var/lib -name '*octave*')
echo "left: $left"
[ -z "$left" ]

# By hand.
userdel octave-ws
cd /check
bash -euxc "$(recipe 'install -m 755')"
edit
bash -euxc "$(recipe /etc/systemd/system)"
systemctl daemon-reload
bash -euxc "$(recipe 'enable --now octave-ws' | grep -v my_company)"
until [ "$(lines /var/lib/octave-ws/events.jsonl)" -ge 10 ]; do sleep 0.1; done
runuser -u octave-ws octave-ws doctor
run_by_cron
systemctl stop octave-ws
echo 'all is well'
