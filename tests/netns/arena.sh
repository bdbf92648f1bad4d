#!/bin/sh
# Runs a script where it may make networks of its own: in namespaces of this kernel if they and `tc netem` are allowed here, else under
# User Mode Linux (Debian's user-mode-linux: a kernel as a plain process, with this machine's files), which needs no root and has netem.
# Either way everything that the script started, processes and networks, is gone when it ends, for root also if it is killed.
# Exit code 77, and a sentence, where neither is possible.
#
#   tests/netns/arena.sh SCRIPT [ARGUMENT...]          Environment: ARENA=kernel or ARENA=uml takes that one or none.
set -eu
PATH=$PATH:/usr/sbin:/sbin
export PATH

skip() {
  echo "SKIPPED: $*"
  exit 77
}
for tool in ip tc iptables-legacy; do
  command -v $tool >/dev/null || skip "$tool is missing; ./waggle setup test installs it"
done

# What a test will do, once; says nothing.
probe='set -e; mkdir -p /run; mount -t tmpfs none /run; ip netns add probe; ip -n probe link add one type veth peer name two
  ip -n probe link add switch type bridge; tc -n probe qdisc add dev one root netem delay 1ms
  ip netns exec probe iptables-legacy -t nat -A POSTROUTING -o one -j MASQUERADE'
apart="unshare --mount --net --pid --fork --kill-child --mount-proc"
[ "$(id -u)" = 0 ] || apart="$apart --user --map-root-user"

if [ "${ARENA:-kernel}" = kernel ] && why=$($apart sh -c "$probe" 2>&1); then
  echo "arena: namespaces of this kernel, $(uname -r)"
  exec $apart sh -c 'mount -t tmpfs none /run && exec sh "$@"' arena "$@"
fi
[ "${ARENA:-uml}" = uml ] || skip "this kernel does not let us: $why"
command -v linux.uml >/dev/null ||
  skip "no namespaces with tc netem here (${why:-not tried}), and no user-mode-linux, which ./waggle setup nightly installs"

# The script becomes a child of the small kernel's first process; its words and its exit code come back through files.
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
trap 'exit 1' INT TERM
quote() { for word in "$@"; do printf " '%s'" "$(printf '%s' "$word" | sed "s/'/'\\\\''/g")"; done; }
{
  echo '#!/bin/sh'
  echo "export$(quote "PATH=$PATH" "HOME=${HOME:-/}" "KEEP=${KEEP:-}")"
  cat <<INIT
cd$(quote "$PWD")
{
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t tmpfs none /run
  mkdir -p /run/uml/lib
  ln -s /usr/lib/uml/modules /run/uml/lib/modules
  modprobe -d /run/uml -a veth bridge sch_netem iptable_nat xt_MASQUERADE iptable_filter xt_conntrack
  ip link set lo up
  TMPDIR=/run sh$(quote "$@")
  echo \$? >'$box/code'
} >>'$box/said' 2>&1
echo o >/proc/sysrq-trigger
sleep 10
INIT
} >"$box/init"
chmod +x "$box/init"
: >"$box/said"
echo "arena: User Mode Linux"
tail -f --pid=$$ "$box/said" &
tail=$!
# Its processes stop, but do not end, when their first one is killed: a namespace takes all of them with it, where we may have one.
alone="unshare --pid --fork --kill-child"
$alone true 2>/dev/null || alone=
setpriv --pdeathsig KILL $alone sh -c 'linux.uml "$@"; exit $?' sh "mem=${ARENA_MEMORY:-2G}" "uml_dir=$box/uml/" rootfstype=hostfs rootflags=/ rw \
  "init=$box/init" con=null con0=null,fd:1 quiet </dev/null >"$box/kernel" 2>&1 || true
sleep 0.2
kill $tail
[ -s "$box/code" ] || { cat "$box/kernel"; echo "User Mode Linux ended early"; exit 1; }
exit "$(cat "$box/code")"
