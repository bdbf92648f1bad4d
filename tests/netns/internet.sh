# An internet of our own, for a script that arena.sh runs: . internet.sh after ../run/lib.sh.
# Every machine is a network namespace with one line, `wan`; the other end of the line has the machine's name, in the namespace
# that its neighbours share: `internet` (a bridge), or a router's. Lines are `tc netem` in both directions.

echo 1 >/proc/sys/net/ipv4/ip_forward 2>/dev/null || true
on() { # on MACHINE COMMAND...
  machine=$1
  shift
  ip netns exec "$machine" "$@"
}
switch() { # switch NAMESPACE: a bridge in it, to which lines can be plugged
  ip -n "$1" link add switch type bridge
  ip -n "$1" link set switch up
}
internet() {
  ip netns add internet
  switch internet
}
plug() { # plug MACHINE NEIGHBOURHOOD ADDRESS/BITS
  ip netns add "$1"
  ip -n "$1" link set lo up
  ip -n "$1" link add wan type veth peer name "$1" netns "$2"
  ip -n "$2" link set "$1" master switch up
  ip -n "$1" addr add "$3" dev wan
  ip -n "$1" link set wan up
  echo "$2" >"$dir/neighbourhood-$1"
}
machine() { plug "$1" internet "$2/24"; } # machine NAME ADDRESS, for all to see
# router NAME ADDRESS INSIDE: masquerades those behind it. Like cheap ones it forgets a connection that is silent for a minute and
# takes up none in the middle.
router() {
  machine "$1" "$2"
  switch "$1"
  ip -n "$1" addr add "$3/24" dev switch
  on "$1" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
  on "$1" iptables-legacy -t nat -A POSTROUTING -o wan -j MASQUERADE
  on "$1" iptables-legacy -A FORWARD -m conntrack --ctstate INVALID -j DROP
  on "$1" sh -c 'cd /proc/sys/net/netfilter && echo 60 >nf_conntrack_tcp_timeout_established && echo 0 >nf_conntrack_tcp_loose'
}
behind() { # behind ROUTER NAME ADDRESS ROUTERS_ADDRESS
  plug "$2" "$1" "$3/24"
  ip -n "$2" route add default via "$4"
}
renumber() { # renumber ROUTER OLD NEW: what its provider may do at night. Its connections are gone, and nobody is told
  ip -n "$1" link set wan down
  ip -n "$1" addr del "$2/24" dev wan
  ip -n "$1" addr add "$3/24" dev wan
  ip -n "$1" link set wan up
}

# line MACHINE NETEM...: delay, loss and rate in each direction; kept, so that mend knows them
line() {
  shape "$@"
  machine=$1
  shift
  echo "$*" >"$dir/line-$machine"
}
shape() {
  machine=$1
  shift
  tc -n "$machine" qdisc replace dev wan root netem "$@"
  tc -n "$(cat "$dir/neighbourhood-$machine")" qdisc replace dev "$machine" root netem "$@"
}
cut() { for machine in "$@"; do shape "$machine" loss 100%; done; } # nothing arrives, and nobody is told
mend() { for machine in "$@"; do shape "$machine" $(cat "$dir/line-$machine"); done; }
worse() { # worse LOSS MACHINE...: on top of the delay that the line has
  loss=$1
  shift
  for machine in "$@"; do shape "$machine" $(sed "s/ loss [0-9.]*%//" "$dir/line-$machine") loss "$loss"; done
}

# Machines of different speed: each gets a share of one core by the kernel's bandwidth limit, where it lets us; else they are only less keen.
speeds() {
  mkdir /run/cpu
  if mount -t cgroup -o cpu none /run/cpu 2>/dev/null; then
    limit=cpu.cfs_quota_us
  elif mount -t cgroup2 none /run/cpu 2>/dev/null && echo +cpu >/run/cpu/cgroup.subtree_control 2>/dev/null; then
    limit=cpu.max
  else
    limit=nice
  fi
}
slow() { # slow MACHINE PID PERCENT of one core
  group="/run/cpu/waggle-$(basename "$dir")-$1"
  if [ $limit != nice ] && mkdir -p "$group"; then echo "$2" >"$group/cgroup.procs"; fi
  case $limit in
    cpu.max) echo "$(($3 * 1000)) 100000" >"$group/$limit" ;;
    nice) renice -n $((19 - $3 / 5)) -p "$2" >/dev/null ;;
    *) echo "$(($3 * 1000))" >"$group/$limit" ;;
  esac
}
forget_speeds() { rmdir /run/cpu/waggle-"$(basename "$dir")"-* 2>/dev/null || true; }
