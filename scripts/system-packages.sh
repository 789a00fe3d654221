#!/bin/sh
# What the tests need of the system: real servers and a real browser. As root they are installed; otherwise it is said.
set -eu
missing=
for package in "$@"; do
    command -v "$package" >/dev/null || [ -x "/usr/sbin/$package" ] || missing="$missing $package"
    # A compiler is of no use without the C library's headers, which a package beside it has.
    [ "$package" != gcc ] || [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
done
[ -z "$missing" ] && exit
if [ "$(id -u)" != 0 ]; then
    echo "the tests need$missing: ask the administrator of this machine for: apt install$missing" >&2
    exit 1
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The tests start their own servers: the packages' are not wanted.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d.hostel
chmod +x /usr/sbin/policy-rc.d.hostel
had_policy=; [ -e /usr/sbin/policy-rc.d ] && had_policy=1
[ -n "$had_policy" ] || mv /usr/sbin/policy-rc.d.hostel /usr/sbin/policy-rc.d
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
[ -n "$had_policy" ] || rm -f /usr/sbin/policy-rc.d
rm -f /usr/sbin/policy-rc.d.hostel
