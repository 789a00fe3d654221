#!/bin/sh
# make serve: set everything up below this checkout and serve the examples in the foreground.
set -eu
cd "$(dirname "$0")/.."

# Started by root, sites run as an ordinary user. Where that user cannot come (a checkout below /root, or in a private
# temporary folder), a copy is served from where everybody can, and removed at the end.
if [ "$(id -u)" = 0 ] && ! su -s /bin/sh nobody -c "test -r '$PWD/pyproject.toml'" 2>/dev/null; then
    copy=$(mktemp -d /var/tmp/hostel-serve.XXXXXX)
    trap 'rm -rf "$copy"' EXIT
    trap : INT TERM
    chmod 755 "$copy"
    echo "only root can read $PWD, and sites do not run as root: serving a copy from $copy"
    tar -c --exclude=./.git --exclude=./.venv . | tar -x --no-same-owner -C "$copy"
    chmod 755 "$copy" && chmod -R a+rX "$copy"
    "$copy/scripts/serve.sh" "$@" &
    wait $! || wait $! || true
    exit
fi

umask 022
scripts/setup.sh .venv -e '.[examples]'
echo "collecting the static files of examples/blog"
(cd examples/blog && STATE_DIRECTORY="$(mktemp -d)" && export STATE_DIRECTORY &&
    ../../.venv/bin/python manage.py collectstatic --noinput --verbosity 0 && rm -rf "$STATE_DIRECTORY")
exec .venv/bin/hostel serve examples "$@"
