#!/bin/sh
# run-tests.sh PYTHON [options of pytest]: run tests several at a time; what fails there has to pass by itself.
#
# Thousands of tests start real servers beside each other on few cores, and now and then one of them finds no processor in
# time. So a failure is tried again, alone, and named either way. Many failures are no accident, and are not tried again.
set -eu
most=5
python=$1
shift
kept=$(mktemp -d)
trap 'rm -rf "$kept"' EXIT
status=0
"$python" -m pytest -q -n 3 --dist loadfile -o cache_dir="$kept" "$@" || status=$?
[ "$status" = 1 ] || exit "$status"
count=$("$python" -c 'import json, sys; print(len(json.load(open(sys.argv[1]))))' "$kept/v/cache/lastfailed")
[ "$count" -le "$most" ] || exit "$status"
echo "$count failed beside others. Each is tried again by itself:"
"$python" -m pytest -q -o cache_dir="$kept" --last-failed --last-failed-no-failures none "$@"
