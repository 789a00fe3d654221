#!/bin/sh
# Make or refresh a virtualenv: setup.sh FOLDER PIP-ARGUMENT...
# Used by the Makefile; says what to do when the machine lacks something that only its administrator can install.
set -eu
venv=$1
shift

find_python() {
    # The system's Python first: other users can read it, unlike one below somebody's home.
    for python in ${PYTHON:-/usr/bin/python3 python3.13 python3.12 python3.11 python3}; do
        if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    echo "Hostel needs Python 3.11 or newer, and there is none here. On Debian: apt install python3 python3-venv" >&2
    exit 1
}

if [ ! -x "$venv/bin/pip" ]; then  # none, or one that was interrupted
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "installing python3-venv"
            apt-get update -qq && apt-get install -y -qq python3-venv >/dev/null
        else
            echo "$python cannot make virtualenvs. Ask the administrator of this machine for: apt install python3-venv" >&2
            exit 1
        fi
    fi
    echo "making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

# Installed anew only when what is to be installed has changed.
wanted=$(printf '%s\n' "$@" && cat pyproject.toml requirements/*.txt src/hostel/__init__.py)
if [ "$(cat "$venv/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "installing: $*"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
    printf '%s\n' "$wanted" >"$venv/.installed"
elif [ "$1" != -e ]; then  # a copy of the source is installed: take the present one
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps .
fi
