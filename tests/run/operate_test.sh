#!/bin/sh
# Operating a run, with real processes: metrics are scraped and read, status shows who works, one volunteer is sent away, the host is
# drained by command and by SIGTERM and resumed each time; the weights end as those of the undisturbed run.
# Usage: operate_test.sh WAGGLE SOURCE_DIR
set -eu
. "$(dirname "$0")/lib.sh"
status_says() { "$waggle" status "$dir/run" --json | grep -q "$1"; }

local_run --set orchestrator.steps=60

host run "$source/tests/run/tiny.toml" --set orchestrator.steps=60 --out "$dir/run"
invite_of "$dir/run"
[ "$(stat -c %a "$dir/run/control.json")" = 600 ] || fail "others can read control.json"
url="http://$(sed 's/.*"http":"\([^"]*\)".*/\1/' "$dir/run/control.json")"
until_true 30 "not ready" sh -c "'$waggle' doctor '$dir/run' | grep -q 'is ready'"
"$waggle" doctor "$dir/run" --invite "$invite" >"$dir/doctor.log" || fail "the doctor finds a problem"
grep -q "who the invite says" "$dir/doctor.log" || fail "the doctor did not reach the invite's host"

volunteer worker1 worker1
first=$volunteer_pid
volunteer worker2 worker2
second=$volunteer_pid
until_true 60 "nobody's group was accepted" status_says '"accepted":[1-9]'
"$waggle" status "$url" --once >"$dir/table.log"
grep -q "wgl1" "$dir/table.log" || fail "no node in the table"

# One volunteer is sent away; it finishes what it holds and says who asked. A stranger without the token may not ask.
leaver=$("$waggle" key show --file "$dir/worker1.key" | grep -o 'wgl1[a-z0-9]*' | head -1)
# The host's board looks at who is here once a second.
until_true 10 "drain --node" "$waggle" drain "$dir/run" --node "$leaver"
wait "$first" || fail "volunteer 1"
grep -q "asked to leave by the host" "$dir/worker1.log" || fail "volunteer 1 does not know why it left"
if "$waggle" drain "$url" 2>/dev/null; then fail "drained without a token"; fi
volunteer worker3 worker3
third=$volunteer_pid

# Metrics in the text format, read line by line.
if command -v python3 >/dev/null; then
  python3 - "$url" "$dir/run/policies" <<'PYTHON' || fail "metrics"
import glob, hashlib, re, sys, urllib.error, urllib.request
reply = urllib.request.urlopen(sys.argv[1] + "/metrics", timeout=30)
assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4"), reply.headers
typed, values = set(), {}
for line in reply.read().decode().splitlines():
    if line.startswith("# TYPE "): typed.add(line.split()[2])
    if not line or line.startswith("#"): continue
    match = re.fullmatch(r'([a-z_]+)(\{[^}]*\})? (\S+)', line)
    assert match, line
    name = re.sub("_(bucket|sum|count)$", "", match[1]) if match[1] not in typed else match[1]
    assert name in typed, line
    values[match[1] + (match[2] or "")] = float(match[3])
assert values['waggle_leases_total{outcome="accepted"}'] > 0
assert values["waggle_accepted_tokens_total"] > 0
assert values["waggle_grants_total"] > 0
assert values["waggle_leases_total{outcome=\"rejected\"}"] == 0
for path, code in (("/health/live", 200), ("/nowhere", 404)):
    try: got = urllib.request.urlopen(sys.argv[1] + path, timeout=30).status
    except urllib.error.HTTPError as error: got = error.code
    assert got == code, (path, got)
# The host is a mirror too: policies by their hashes.
manifest = open(sorted(glob.glob(sys.argv[2] + "/full-*/manifest.bin"))[0], "rb").read()
assert urllib.request.urlopen(sys.argv[1] + "/blob/" + hashlib.sha256(manifest).hexdigest(), timeout=30).read() == manifest
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/control/drain", data=b"{}"), timeout=30)
    sys.exit("drained without a token")
except urllib.error.HTTPError as error: assert error.code == 403
PYTHON
fi

# Drained by command: it saves, exits with 0, and leaves no control.json behind.
"$waggle" drain "$dir/run" >/dev/null || fail "drain"
wait "$host_pid" || fail "the drained host"
grep -q "drained and saved" "$dir/host.log" || fail "the host does not say that it was drained"
[ ! -e "$dir/run/control.json" ] || fail "control.json is left"
if "$waggle" status "$dir/run" --once 2>/dev/null; then fail "status of a host that is gone"; fi

# Drained by a signal.
host resume "$dir/run"
until_true 60 "not up again" status_says '"workers":2'
kill -TERM "$host_pid"
wait "$host_pid" || fail "the host after SIGTERM"

host resume "$dir/run"
wait "$host_pid" || fail "the host"
[ "$(hash_of "$dir/run")" = "$expected" ] || fail "weights $(hash_of "$dir/run"), the undisturbed run's are $expected"
grep -q "it never waits if volunteers sample" "$dir/host.log" || fail "no word about feasibility"
grep -q "^trainer  *idle" "$dir/host.log" || fail "no word about idle time"
wait "$second" || fail "volunteer 2"
wait "$third" || fail "volunteer 3"
echo "the same weights after two drains: $expected"
