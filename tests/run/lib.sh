# What tests of hosts and volunteers as real processes share: . "$(dirname "$0")/lib.sh" with the test's own arguments.
# Sets waggle, source and dir (a folder of the test's own; everything in it and every process that was started goes at exit).
waggle=$1
source=$2
dir=$(mktemp -d)
pids=
cleanup() {
  for pid in $pids; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT
export XDG_CACHE_HOME="$dir/cache" XDG_CONFIG_HOME="$dir/config"

fail() {
  echo "FAILED: $*"
  tail -n 20 "$dir"/*.log
  exit 1
}
hash_of() { sed -n 's/.*"weight_hash": *"\([0-9a-f]*\)".*/\1/p' "$1/result.json"; }

# start NAME COMMAND...: in the background, its output in NAME.log, its process in $started
start() {
  log=$1
  shift
  "$@" >>"$dir/$log.log" 2>&1 &
  started=$!
  pids="$pids $started"
}

# until_true SECONDS WHAT COMMAND...
until_true() {
  seconds=$1 what=$2 tries=0
  shift 2
  until "$@" >"$dir/said" 2>/dev/null; do
    tries=$((tries + 1))
    [ $tries -le $((seconds * 10)) ] || fail "$what, after $seconds s"
    sleep 0.1
  done
}
wait_for() { until_true "$2" "no '${3:-anything}' in $1" grep -q "${3:-.}" "$1"; } # wait_for FILE SECONDS [WORDS in it]

# local_run [OPTION...]: the undisturbed run of the tiny recipe on one machine; its weights are what is $expected
local_run() {
  "$waggle" run "$source/tests/run/tiny.toml" "$@" --out "$dir/local" --quiet --threads 1 >/dev/null
  expected=$(hash_of "$dir/local")
}

# host ACTION WHAT [OPTION...]: `run` of a recipe or `resume` of a folder, for others to join; sets host_pid.
# It listens where the run listened before; `port=0` makes it choose.
port=0
host() {
  start host "$waggle" "$@" --listen "127.0.0.1:$port" --key "$dir/host.key" --threads 1
  host_pid=$started
}
invite_of() { # invite_of FOLDER: waits for it, and sets invite and port
  wait_for "$1/invite.txt" 60
  invite=$(cat "$1/invite.txt")
  port=${invite##*:}
  port=${port%%/*}
}
# volunteer NAME KEY [OPTION...]: joins $invite; sets volunteer_pid
volunteer() {
  name=$1 key=$2
  shift 2
  start "$name" "$waggle" join "$invite" --key "$dir/$key.key" --threads 1 --rollouts 16 --memory 16 "$@"
  volunteer_pid=$started
}

# What volunteer NAME said at its end: bytes of policies.
from_host() { sed -n 's/^policies  \([0-9]*\) bytes from the host.*/\1/p' "$dir/$1.log"; }
from_mirrors() { sed -n 's/^policies .* host, \([0-9]*\) from mirrors.*/\1/p' "$dir/$1.log"; }
