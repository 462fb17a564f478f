#!/bin/sh
# Installs the Debian packages of the named groups (see packages.txt); does nothing when all are there.
# usage: tools/deps.sh [--list] GROUP...
set -u
list=$(dirname "$0")/packages.txt
only_list=no
[ "${1:-}" = --list ] && { only_list=yes; shift; }
[ $# -gt 0 ] || { echo "usage: tools/deps.sh [--list] GROUP...   groups: $(awk '!/^#/ && NF {print $1}' "$list" | sort -u | xargs)" >&2; exit 2; }

wanted=""
for group in "$@"; do
  found=$(awk -v g="$group" '!/^#/ && $1 == g {print $2}' "$list")
  [ -n "$found" ] || { echo "deps: no group '$group' in $list" >&2; exit 2; }
  wanted="$wanted $found"
done

# A package that an interrupted dpkg left half-configured counts as missing.
missing_packages() {
  for p in $wanted; do
    [ "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" = "install ok installed" ] || printf '%s ' "$p"
  done
}

if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
  echo "deps: this is no Debian system, so nothing is installed; provide what these packages hold: $(echo $wanted)" >&2
  exit 0
fi
missing=$(missing_packages)
[ "$only_list" = yes ] && { echo "$missing"; exit 0; }
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ]; then
  sudo=""
elif command -v sudo >/dev/null; then
  sudo=sudo
else
  echo "deps: missing: $missing" >&2
  echo "deps: not root and no sudo here; as root run: apt-get install $missing" >&2
  exit 1
fi
echo "deps: installing with '${sudo:+sudo }apt-get install': $missing"

as_root() { $sudo env DEBIAN_FRONTEND=noninteractive "$@"; }
apt() { as_root apt-get -q -o DPkg::Lock::Timeout=120 "$@"; }
install() { apt install -y --no-install-recommends $missing; }

apt update || echo "deps: 'apt-get update' failed; trying with the package lists at hand" >&2
if ! install; then
  echo "deps: apt-get failed, perhaps after an interrupted run: repairing, then trying once more" >&2
  as_root dpkg --configure -a
  apt -f install -y
  apt update
  missing=$(missing_packages)
  [ -z "$missing" ] || install
fi
missing=$(missing_packages)
if [ -n "$missing" ]; then
  echo "deps: still missing: $missing" >&2
  echo "deps: read apt-get's messages above (network, disk space, sources.list), mend that, and run the same command again" >&2
  exit 1
fi
