#!/bin/sh
# make serve: set everything up and serve the examples in the foreground. VENV and INSTALL come from the Makefile.
set -eu
cd "$(dirname "$0")/.."
umask 022
examples=examples

if [ "$VENV" != .venv ]; then
    echo "only root can read $PWD, and sites do not run as root: they get a copy of examples/, and Python from $VENV"
    trap 'exit 130' INT
    trap 'exit 143' TERM
    copy=$(mktemp -d /var/tmp/hostel-examples.XXXXXX)
    trap 'rm -rf "$copy"' EXIT
    chmod 755 "$copy"
    tar -c examples | tar -x --no-same-owner -C "$copy"
    chmod -R a+rX "$copy"
    examples=$copy/examples
fi

# shellcheck disable=SC2086
scripts/setup.sh "$VENV" $INSTALL"[examples]"
venv=$(cd "$VENV" && pwd)
echo "collecting the static files of examples/blog"
(cd "$examples/blog" && STATE_DIRECTORY="$(mktemp -d)" && export STATE_DIRECTORY &&
    "$venv/bin/python" manage.py collectstatic --noinput --verbosity 0 && rm -rf "$STATE_DIRECTORY")
HOSTEL_LISTEN_TLS=${HOSTEL_LISTEN_TLS-8443}
export HOSTEL_LISTEN_TLS
[ "$examples" != examples ] || exec "$venv/bin/hostel" serve examples "$@"

# The shell outlives the server, to remove the copy.
"$venv/bin/hostel" serve "$examples" "$@" &
server=$!
trap : INT  # Ctrl-C reaches the server as well
trap 'kill -TERM $server' TERM
status=0
while kill -0 $server 2>/dev/null; do
    status=0
    wait $server || status=$?
done
exit $status
