#!/bin/sh
# The demonstration behind `make run`: an observer, three workers, one of which
# hangs and one of which crashes, and what the observer says and does about it.
#
# usage: examples/demo.sh BUILD_FOLDER [SECONDS]
# Without SECONDS it serves until Ctrl-C. Everything it writes is under ./run.
set -eu
build=$1
seconds=${2:-0}
cd "$(dirname "$0")/.."
case $build in
/*) ;;
*) build=$PWD/$build ;;
esac

say() {
	printf '\n\033[1m== %s\033[0m\n' "$*"
}
[ -t 1 ] || say() {
	printf '\n== %s\n' "$*"
}

mkdir -p run
rm -f run/workers.pids run/events.tsv run/metrics.addr run/observer.log \
    run/crash.in
: >run/workers.pids
: >run/observer.log

# A socket's path is at most 107 bytes; from a folder too deep for that, the
# demonstration has its socket elsewhere.
sockets=$PWD/run
[ ${#sockets} -lt 90 ] || sockets=$(mktemp -d)
VARTA_SOCKET=$sockets/varta.sock
VARTA_WORKER=$build/examples/worker
export VARTA_SOCKET VARTA_WORKER

observer=
tail=
stop() {
	trap - EXIT INT TERM
	[ -z "$observer" ] || kill -TERM "$observer" 2>/dev/null || :
	[ -z "$observer" ] || wait "$observer" 2>/dev/null || :
	for pid in $(cat run/workers.pids); do
		kill -KILL "$pid" 2>/dev/null || :
	done
	[ -z "$tail" ] || kill "$tail" 2>/dev/null || :
	rm -f run/crash.in
	[ "$sockets" = "$PWD/run" ] || rm -rf "$sockets"
}
trap 'stop; exit 0' INT TERM
trap 'stop' EXIT

# Wait for a condition, ten seconds at most.
await() {
	tries=0
	until eval "$1"; do
		tries=$((tries + 1))
		if [ $tries -ge 200 ]; then
			echo "demo: waited in vain for: $2" >&2
			exit 1
		fi
		sleep 0.05
	done
}

start_worker() {
	"$VARTA_WORKER" "$1" "$VARTA_SOCKET" <"${2:-/dev/null}" &
	echo $! >>run/workers.pids
}

tail -n +1 -f run/observer.log 2>/dev/null | sed -u 's/^/   /' &
tail=$!

say "the observer starts"
"$build/src/watch/varta-watch" \
    --socket "$VARTA_SOCKET" \
    --threshold-ms 1000 \
    --export-file run/events.tsv \
    --prom-addr 127.0.0.1:0 \
    --recovery-exec 'examples/recover.sh {pid} {name}' \
    --recovery-env "VARTA_SOCKET=$VARTA_SOCKET" \
    --recovery-env "VARTA_WORKER=$VARTA_WORKER" \
    >run/metrics.addr 2>>run/observer.log &
observer=$!
await '[ -s run/metrics.addr ]' 'the address of the metrics'
address=$(head -n 1 run/metrics.addr)

say "three workers start, each beats ten times a second"
mkfifo run/crash.in
start_worker ingest
start_worker render
start_worker upload run/crash.in
exec 3>run/crash.in
await '[ "$(grep -c "	join	" run/events.tsv)" -ge 3 ]' 'three workers'
render=$(sed -n 2p run/workers.pids)
upload=$(sed -n 3p run/workers.pids)

say "worker 'render' (pid $render) hangs: SIGSTOP"
kill -STOP "$render"
await "grep -q '	stall	$render	' run/events.tsv" 'the stall'

say "worker 'upload' (pid $upload) crashes: abort()"
echo crash >&3
exec 3>&-
await "grep -q '	exit	$upload	' run/events.tsv" 'the exit'
await '[ "$(wc -l <run/workers.pids)" -ge 5 ]' 'both to be started again'
await '[ "$(grep -c "	join	" run/events.tsv)" -ge 5 ]' 'their beats'

say "what stands in run/events.tsv, without the beats"
awk -F '\t' '$2 != "beat" {
	if ($4 == "18446744073709551615")
		$4 = "of a crash"
	printf "   %8.3f s  %-6s pid %-7s beat %-10s  %s %s\n",
	    $1 / 1e9, $2, $3, $4, $5, $6 }' run/events.tsv

say "the observer goes on: metrics on http://$address/metrics"
echo "   try: curl -s http://$address/metrics | grep varta_stalls_total"
if [ "$seconds" -gt 0 ]; then
	sleep "$seconds" &
	wait $! || :
else
	echo "   Ctrl-C ends it"
	wait "$observer" || :
fi
