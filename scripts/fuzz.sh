#!/bin/sh
# Fuzz what reads the bytes of tenants and clients with atheris: fuzz.sh [MINUTES [TARGET...]]
# Ten minutes for all targets together when nothing is said. Targets are the functions of tests/fuzz/targets.py.
# Everything is set up below .fuzz: a virtualenv with atheris, and by target what was found worth keeping.
set -eu
cd "$(dirname "$0")/.."
minutes=${1:-10}
[ $# = 0 ] || shift

if [ ! -x .fuzz/venv/bin/python ] || ! .fuzz/venv/bin/python -c 'import atheris, hypothesis, hostel' 2>/dev/null; then
    echo "setting up .fuzz/venv"
    mkdir -p .fuzz
    "${PYTHON:-python3}" -m venv --clear .fuzz/venv
    .fuzz/venv/bin/python -m pip install --quiet --disable-pip-version-check -e . -r requirements/test.txt
    # It has wheels for some Pythons only; what there is for this one is fine.
    .fuzz/venv/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: atheris || {
        echo "atheris has no wheel for this Python: name another one, as in PYTHON=python3.11 scripts/fuzz.sh" >&2
        exit 1
    }
fi

count=$#
[ "$count" != 0 ] || count=$(.fuzz/venv/bin/python -c 'from tests.fuzz.targets import TARGETS; print(len(TARGETS))')
exec .fuzz/venv/bin/python -m tests.fuzz $((minutes * 60 / count)) .fuzz "$@"
