#!/bin/sh
# Run the tests that are not slow with the other Pythons that Hostel supports and that this machine has.
# All is set up anew in a folder of its own, which goes at the end: nothing can be left from an earlier run.
set -eu
cd "$(dirname "$0")/.."
umask 022

as_ordinary() {
    if [ "$(id -u)" = 0 ]; then su -s /bin/sh nobody -c "$1"; else sh -c "$1"; fi
}

is_usable() {  # by the users that sites run as
    (cd / && as_ordinary "'$1' -I -c 'import ctypes, ensurepip, sqlite3, ssl, venv'") >/dev/null 2>&1
}

copy_python() {  # where ordinary users can read it, without what only developers of Python need
    mkdir "$2"
    tar -C "$1" -c --exclude='lib/python*/test' --exclude='lib/python*/config-*' --exclude='lib/python*/site-packages/*' \
        --exclude=__pycache__ --exclude='*.a' bin lib | tar -C "$2" -x --no-same-owner
    chmod -R a+rX "$2"
    # It looks for its library where it was built (RUNPATH, ld.so(8)), be that readable or not: from now on beside itself.
    "$1/bin/python$version" - "$1/lib" "$2/bin/python$version" <<'PYTHON'
import pathlib, sys
old, path = sys.argv[1].encode() + b"\0", pathlib.Path(sys.argv[2])
path.write_bytes(path.read_bytes().replace(old, b"$ORIGIN/../lib".ljust(len(old), b"\0")))
PYTHON
}

for version in 3.13; do
    work=$(mktemp -d /var/tmp/hostel-python.XXXXXX)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    chmod 755 "$work"
    python=
    for found in "$(command -v "python$version" || true)" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/"python$version"; do
        [ -z "$python" ] && [ -x "$found" ] || continue
        prefix=$("$found" -c 'import sys; print(sys.base_prefix)' 2>/dev/null) || continue
        python=$prefix/bin/python$version
        is_usable "$python" && continue
        rm -rf "$work/python" && copy_python "$prefix" "$work/python"
        python=$work/python/bin/python$version
        is_usable "$python" || python=
    done
    if [ -z "$python" ]; then
        echo "this machine has no Python $version that all users can run: the tests ran with one Python only"
    else
        PYTHON=$python scripts/setup.sh "$work/venv" '.[examples]' -r requirements/test.txt
        echo "tests with $("$work/venv/bin/python" --version)"
        scripts/run-tests.sh "$work/venv/bin/python" -m "not slow and not alone"
    fi
    rm -rf "$work"
done
