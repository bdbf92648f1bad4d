#!/bin/sh
# A run on an internet of its own: a host that trains, relays, workers of different speed, three of them behind one router, every line with
# its own delay, loss and rate. Processes are killed and lines cut while the run learns. Run it with arena.sh.
#   short   the tiny recipe, three workers, one relay: the weights are those of the undisturbed local run, bit for bit
#   learn   recipes/demo, six workers, two relays, longer and worse faults: the same
#   ahead   the same with recipes/echo-push-pull, whose batches depend on when workers ask: the held-out accuracy at the end is the undisturbed
#           run's within its interval, and `waggle replay` gives the run's bits
# Usage: netns_test.sh WAGGLE SOURCE_DIR MODE       Environment: KEEP=FOLDER keeps the logs and the run there
set -eu
. "$2/tests/run/lib.sh"
. "$2/tests/netns/internet.sh"
mode=$3
case $mode in
  short) recipe=$source/tests/run/tiny.toml steps=30 workers="near attic desk" relays=relay ;;
  learn) recipe=$source/recipes/demo steps=120 workers="near middle far attic desk sofa" relays="relay other" ;;
  ahead) recipe=$source/recipes/echo-push-pull steps=80 workers="near middle far attic desk sofa" relays="relay other" ;;
esac
keep() { if [ -n "${KEEP:-}" ]; then mkdir -p "$KEEP" && cp -r "$dir"/*.log "$dir/run" "$KEEP"; fi; }
trap 'keep; forget_speeds; cleanup' EXIT

# --- what is where ------------------------------------------------------------------------------------------------------------------
address_of() {
  case $1 in
    host) echo 198.51.100.10 ;; relay) echo 198.51.100.21 ;; other) echo 198.51.100.22 ;;
    near) echo 198.51.100.31 ;; middle) echo 198.51.100.32 ;; far) echo 198.51.100.33 ;;
    home) echo 198.51.100.50 ;; attic) echo 192.168.7.11 ;; desk) echo 192.168.7.12 ;; sofa) echo 192.168.7.13 ;;
  esac
}
line_of() {
  case $1 in
    host) echo delay 5ms rate 100mbit ;;
    relay) echo delay 10ms rate 50mbit ;;
    other) echo delay 25ms 2ms loss 0.1% rate 20mbit ;;
    near) echo delay 8ms rate 50mbit ;;
    middle) echo delay 30ms 3ms loss 0.3% rate 10mbit ;;
    far) echo delay 90ms 5ms loss 0.5% rate 4mbit ;;
    home) echo delay 15ms 2ms loss 0.3% rate 16mbit ;;
    attic) echo delay 4ms 3ms loss 1% rate 20mbit ;;
    desk) echo delay 1ms rate 100mbit ;;
    sofa) echo delay 2ms loss 0.2% rate 50mbit ;;
  esac
}
share_of() { # percent of one core
  case $1 in near) echo 60 ;; middle) echo 40 ;; far) echo 25 ;; attic) echo 15 ;; desk) echo 50 ;; sofa) echo 8 ;; esac
}
is_home() { case $1 in attic | desk | sofa) return 0 ;; *) return 1 ;; esac; }

build_internet() {
  internet
  for name in host $relays; do machine "$name" "$(address_of "$name")"; done
  router home "$(address_of home)" 192.168.7.1
  for name in $workers; do
    if is_home "$name"; then
      behind home "$name" "$(address_of "$name")" 192.168.7.1
    else
      machine "$name" "$(address_of "$name")"
    fi
  done
  for name in host home $relays $workers; do line "$name" $(line_of "$name"); done
}

# --- processes ----------------------------------------------------------------------------------------------------------------------
begin=$(date +%s)
# As in lib.sh, and every line of the log says when.
start() {
  log=$1
  shift
  mkfifo "$dir/$log.pipe" 2>/dev/null || true
  while IFS= read -r line; do echo "$(date +%T) $line"; done <"$dir/$log.pipe" >>"$dir/$log.log" &
  "$@" >"$dir/$log.pipe" 2>&1 &
  started=$!
  pids="$pids $started"
}
stepped() { [ "$(wc -l <"$dir/run/metrics.jsonl")" -ge "$1" ]; }
say() { echo "$(date +%T) step $(wc -l <"$dir/run/metrics.jsonl"): $*"; }
at_step() { until_true "${patience:-300}" "no step $1" stepped "$1"; }
play_host() { # run or resume, of what
  mirrors=
  for name in $relays; do mirrors="$mirrors --mirror http://$(address_of "$name"):7180"; done
  start host ip netns exec host "$waggle" "$@" --listen 0.0.0.0:7100 --host "$(address_of host):7100" --key "$dir/host.key" --threads 1 $mirrors
  host_pid=$started
}
play_relay() {
  start "$1" ip netns exec "$1" "$waggle" relay "$invite" --listen 0.0.0.0:7180 --disk 50MB --folder "$dir/$1" --key "$dir/$1.key"
  eval "pid_$1=$started"
}
play_worker() {
  start "$1" ip netns exec "$1" "$waggle" join "$invite" --key "$dir/$1.key" --threads 1 --rollouts 64 --memory 16 --patience 4
  eval "pid_$1=$started"
  slow "$1" "$started" "$(share_of "$1")"
}
pid_of() { eval "echo \$pid_$1"; }
outcomes() { "$waggle" outcomes "$dir/run"; }
accepted_of() { # of a worker, by its key
  node=$("$waggle" key show --file "$dir/$1.key" | sed -n 's/^address  //p')
  outcomes | grep "\"$node\"" | grep -c '"outcome":"accepted"' || true
}
# works_again WORKER SECONDS: something of it is accepted from now on. The others are stopped meanwhile, or the run would be over before a
# slow one is back; what they hold goes to it.
works_again() {
  since=$(date +%s) before=$(accepted_of "$1")
  others STOP "$1"
  until [ "$(accepted_of "$1")" -gt "$before" ]; do
    [ $(($(date +%s) - since)) -le "$2" ] || fail "$1 did not come back within $2 s"
    kill -0 "$host_pid" || fail "the run ended before $1 came back"
    sleep 0.3
  done
  say "$1 works again, after $(($(date +%s) - since)) s"
  others CONT "$1"
}
others() { # SIGNAL WORKER: to the others
  for name in $workers; do [ "$name" = "$2" ] || kill "-$1" "$(pid_of "$name")" 2>/dev/null || true; done
}

# --- what goes wrong ----------------------------------------------------------------------------------------------------------------
kill_worker() { say "kill -9 $1"; kill -9 "$(pid_of "$1")"; }
kill_relay() { say "kill -9 $1"; kill -9 "$(pid_of "$1")"; }
kill_host() {
  say "kill -9 host"
  kill -9 "$host_pid"
  sleep "$1"
  play_host resume "$dir/run"
  say "host resumed"
}
cut_for() { # SECONDS MACHINE...
  seconds=$1
  shift
  say "nothing passes to or from $*, for $seconds s"
  cut "$@"
  sleep "$seconds"
  mend "$@"
  say "$* can be reached again"
}

short_faults() {
  at_step 2
  kill_worker near
  at_step 4
  play_worker near
  kill -STOP "$pid_near" # else it ends the run alone
  cut_for 5 home
  renumber home "$(address_of home)" 198.51.100.51
  say "home has another address, and its router forgot its connections"
  works_again desk 150
  at_step $((steps / 2))
  kill_host 1
  at_step $((steps * 2 / 3))
  kill_relay relay
}
long_faults() {
  at_step 4
  kill_worker middle
  at_step $((steps / 12))
  play_worker middle
  kill -STOP "$pid_near" # else it ends the run alone
  cut_for 20 home
  works_again desk 150
  at_step $((steps / 5))
  kill_host 3
  at_step $((steps * 3 / 10))
  kill_relay relay
  say "the lines of host, home, middle and far lose 15 %"
  worse 15% host home middle far
  sleep 15
  mend host home middle far
  say "the lines are as before"
  renumber home "$(address_of home)" 198.51.100.51
  say "home has another address, and its router forgot its connections"
  works_again attic 150
  at_step $((steps / 2))
  kill_worker sofa
  cut_for 75 host # longer than anybody keeps a silent connection
  works_again near 150
  works_again desk 150
  play_worker sofa
  play_relay relay
  at_step $((steps * 7 / 10))
  kill_worker near
  kill_relay other
  kill_host 1
  play_worker near # while the host trains again what it had accepted
  works_again near 150
}

# --- the run ------------------------------------------------------------------------------------------------------------------------
at_end() { sed -n '$s/.*"correct":\([0-9]*\),"accuracy":\([0-9.e-]*\),"low":\([0-9.e-]*\),"high":\([0-9.e-]*\),.*/\2 [\3, \4]/p' "$1/evaluations.jsonl"; }
undisturbed() {
  "$waggle" run "$recipe" --set "orchestrator.steps=$steps" --out "$dir/local" --quiet --threads 1 >/dev/null
  expected=$(hash_of "$dir/local")
  echo "undisturbed, in one process: $(at_end "$dir/local"), weights $expected"
}
check_end() {
  found=$(hash_of "$dir/run")
  echo "disturbed: $(at_end "$dir/run"), weights $found"
  for name in $workers; do
    # Who had no line at the end was not told, and leaves when its patience is over.
    code=0
    wait "$(pid_of "$name")" || code=$?
    sleep 0.5 # the log is written by another process
    if [ $code = 0 ]; then
      grep -q "the run is over" "$dir/$name.log" || fail "$name does not know that the run is over"
    else
      tail -n 1 "$dir/$name.log" | grep -q "no word from the host" || fail "$name ended: $(tail -n 1 "$dir/$name.log")"
    fi
    broke=$(grep -c ' the link ended' "$dir/$name.log" || true)
    echo "$name: $(accepted_of "$name") accepted; $broke links or dials failed; $(sed -n 's/.* policies *//p' "$dir/$name.log" | tail -n 1)"
  done
  outcomes | sed 's/.*"outcome":"\([a-z]*\)".*/\1/' | sort | uniq -c
  if outcomes | grep -q '"outcome":"rejected"'; then fail "an honest group was rejected: $(outcomes | grep -m1 rejected)"; fi
  if [ "$mode" = ahead ]; then
    at_end "$dir/run" | tr -d '[],' >"$dir/ends"
    at_end "$dir/local" | tr -d '[],' >>"$dir/ends"
    awk 'NR == 1 {mean = $1} NR == 2 {exit !($2 <= mean && mean <= $3)}' "$dir/ends" || fail "it ended outside of the undisturbed run's interval"
  else
    [ "$found" = "$expected" ] || fail "other weights than those of the undisturbed run"
  fi
  "$waggle" replay "$dir/run" --quiet >"$dir/replay" || fail "replay"
  grep -q "$found" "$dir/replay" || fail "replay: $(cat "$dir/replay")"
}

undisturbed
build_internet
speeds
echo "shares of the core by $limit"
play_host run "$recipe" --set "orchestrator.steps=$steps" --out "$dir/run"
invite_of "$dir/run"
for name in $relays; do play_relay "$name"; done
for name in $workers; do play_worker "$name"; done
until_true 120 "no step" test -s "$dir/run/metrics.jsonl"
begin=$(date +%s)
[ "${FAULTS:-yes}" = no ] || "$([ "$mode" = short ] && echo short || echo long)_faults"
wait "$host_pid" || fail "the host"
say "the run is over"
check_end
