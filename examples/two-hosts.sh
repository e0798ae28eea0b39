#!/bin/sh
# Two hosts, as network namespaces with a cable between them: an observer on
# one, an agent on the other, beats that are sealed. The cable is pulled and put
# back, the agent is started again, the observer as well. Needs root, and leaves
# nothing behind, also after Ctrl-C.
#
# usage: examples/two-hosts.sh [BUILD_FOLDER]
set -eu

need() {
	printf 'two-hosts: %s\n' "$*" >&2
	exit 2
}

tree=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$tree/build}
[ -x "$build/examples/remote" ] && [ -x "$build/src/watch/varta-watch" ] ||
	need "'$build' has no programs: run make first, or name the folder" \
	    "that it built in"
build=$(cd "$build" && pwd)
for program in ip nsenter unshare; do
	command -v $program >/dev/null ||
		need "no program '$program': install iproute2 and util-linux"
done
[ "$(id -u)" = 0 ] || need "needs root, to make networks of its own"
unshare -n true 2>/dev/null || need "not permitted: networks of its own"

# Once more, in a network of our own. Its name is compared, so that nothing is
# done to the one that we come from.
ours=$(readlink /proc/self/ns/net)
[ "${VARTA_OUTSIDE:-$ours}" != "$ours" ] ||
	VARTA_OUTSIDE=$ours exec unshare -n "$0" "$build"

here=$(mktemp -d)
agent='' observer='' host=''
stop() {
	trap - EXIT INT TERM
	for pid in $agent $observer $host; do
		kill "$pid" 2>/dev/null || :
	done
	wait
	rm -rf "$here"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() {
	printf '== %s\n' "$*"
}

# The file of events has a line with this kind at least so many times.
await() {
	tries=0
	until [ "$(grep -c "	$1	" "$here/events")" -ge "$2" ]; do
		tries=$((tries + 1))
		[ $tries -lt 200 ] || {
			cat "$here/log" "$here/events" >&2
			exit 1
		}
		sleep 0.1
	done
	say "observer: $3"
}

start_observer() {
	"$build/src/watch/varta-watch" --socket "$here/sock" \
	    --threshold-ms 1000 --export-file "$here/events" \
	    --udp-port 9443 --udp-bind-addr 10.77.0.1 \
	    --i-accept-secure-udp-non-loopback \
	    --key-file "$here/key" --state-dir "$here/state" 2>>"$here/log" &
	observer=$!
}

start_agent() {
	nsenter -t "$host" -n "$build/examples/remote" udp:10.77.0.1:9443 \
	    "$here/key" &
	agent=$!
}

say "a cable between 10.77.0.1, the observer's, and 10.77.0.2"
unshare -n sleep 600 &
host=$!
until nsenter -t $host -n ip link show >/dev/null 2>&1 &&
    [ "$(readlink /proc/$host/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do
	sleep 0.05
done
ip link set lo up
ip link add cable type veth peer name eth0 netns $host ||
	need "needs a kernel with veth, cables between networks"
ip addr add 10.77.0.1/24 dev cable
ip link set cable up
nsenter -t $host -n ip addr add 10.77.0.2/24 dev eth0
nsenter -t $host -n ip link set eth0 up

"$build/src/tool/varta" key new --out "$here/key"
say "a key for both: $("$build/src/tool/varta" key fingerprint "$here/key" |
    cut -d ' ' -f 1)"
mkdir -m 0700 "$here/state"
: >"$here/events"
chmod 0600 "$here/events"

start_observer
start_agent
await join 1 "an agent of another host beats"

say "the cable is pulled"
ip link set cable down
await stall 1 "it has stalled"

say "the cable is put back"
ip link set cable up
await resume 1 "it beats again"

say "the agent is started again"
kill $agent
wait $agent || :
start_agent
await join 2 "it is there, as a process of another number"

say "the observer is started again, and has forgotten no session"
kill $observer
wait $observer || :
start_observer
await join 3 "the agent beats on"
grep -o 'started: .*' "$here/log" | tail -n 1
