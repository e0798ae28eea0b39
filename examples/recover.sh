#!/bin/sh
# What the observer runs in the demonstration when a worker has stalled:
# end what is left of it, and start another in its place.
#
# The observer hands over PID and NAME as arguments, and the reason as
# VARTA_REASON: "silent" (it is there and does not beat) or "gone".
pid=$1
name=$2
here=$(dirname "$0")/..
case ${VARTA_REASON:-} in
silent) kill -KILL "$pid" 2>/dev/null && echo "ended $name (pid $pid)" ;;
esac
setsid "$VARTA_WORKER" "$name" "$VARTA_SOCKET" </dev/null >/dev/null 2>&1 &
echo $! >>"$here/run/workers.pids"
echo "started $name again (pid $!)"
