#!/bin/sh
# Run the tests with the other Pythons that Hostel supports and that this machine has.
set -eu
cd "$(dirname "$0")/.."
for version in 3.13; do
    python=
    for place in "$(command -v "python$version" || true)" "$HOME"/.pyenv/versions/"$version".*/bin/python"$version"; do
        if [ -x "$place" ] && "$place" -c 'import sys' 2>/dev/null; then python=$place; fi
    done
    if [ -z "$python" ]; then
        echo "Python $version is not on this machine: the tests ran with $(.venv/bin/python --version 2>/dev/null || python3 --version) only"
        continue
    fi
    base=/var/tmp/hostel-python-$version
    prefix=$("$python" -c 'import sys; print(sys.base_prefix)')
    case $prefix in
        /usr) ;;
        *)  # one below somebody's home cannot be read by the users that sites run as: use a copy
            [ -x "$base/bin/python$version" ] || { rm -rf "$base" && cp -a "$prefix" "$base" && chmod -R a+rX "$base"; }
            python=$base/bin/python$version ;;
    esac
    venv=/var/tmp/hostel-venv-$version-$(id -u)
    (umask 022 && PYTHON=$python scripts/setup.sh "$venv" '.[examples]' -r requirements/test.txt)
    "$venv/bin/python" -m pip install --quiet --force-reinstall --no-deps .
    echo "tests with $("$venv/bin/python" --version)"
    "$venv/bin/python" -m pytest -q -m "not slow" -p no:cacheprovider
done
