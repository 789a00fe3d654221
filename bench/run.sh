#!/bin/sh
# Set up the peers and run the scenarios: run.sh [SCENARIO...]
set -eu
cd "$(dirname "$0")/.."
command -v wrk >/dev/null || apt-get install -y -qq wrk >/dev/null || { echo "the scenarios need wrk: apt install wrk" >&2; exit 1; }
umask 022
scripts/setup.sh .venv -e '.[examples]' -r requirements/test.txt -r requirements/bench.txt
for scenario in "${@:-hello cold memory front burst idle overload budget}"; do
    for name in $scenario; do .venv/bin/python -m "bench.$name"; done
done
