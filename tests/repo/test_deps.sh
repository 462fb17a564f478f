#!/bin/sh
# Drives tools/deps.sh with scripted dpkg-query, apt-get, dpkg, id and sudo: nothing to do, a plain install, an interrupted apt, no rights, no success.
set -u
root=$(cd "$(dirname "$0")/../.." && pwd)
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
bad=0
mkdir "$T/bin"
for tool in sh awk dirname xargs env cat sort echo printf; do ln -s "$(command -v $tool)" "$T/bin/$tool" 2>/dev/null; done
script() { cat >"$T/bin/$1" && chmod +x "$T/bin/$1"; }

# The scripted machine: $T/have lists what is installed; $T/broken makes apt-get fail until dpkg --configure -a ran; $T/offline always.
script dpkg-query <<'X'
#!/bin/sh
for p; do :; done
grep -qx "$p" "$M/have" && printf 'install ok installed' || { printf 'install ok half-configured'; }
X
script apt-get <<'X'
#!/bin/sh
echo "apt-get $*" >>"$M/log"
case " $* " in *" install "*" -f "*|*" -f install "*) exit 0 ;; *" update "*) [ ! -e "$M/offline" ]; exit ;; esac
[ -e "$M/offline" ] && exit 100
[ -e "$M/broken" ] && { echo "E: dpkg was interrupted, you must manually run 'dpkg --configure -a'" >&2; exit 100; }
for p; do case $p in -*|install|DPkg*) ;; *) echo "$p" >>"$M/have" ;; esac; done
X
script dpkg <<'X'
#!/bin/sh
echo "dpkg $*" >>"$M/log"
rm -f "$M/broken"
X
script id <<'X'
#!/bin/sh
cat "$M/uid"
X
cp "$(command -v grep)" "$(command -v rm)" "$T/bin/" 2>/dev/null
script sudo.off <<'X'
#!/bin/sh
echo "sudo $*" >>"$M/log"
exec "$@"
X

machine() {
  rm -rf "$T/m" "$T/bin/sudo"
  mkdir "$T/m"
  : >"$T/m/have"
  : >"$T/m/log"
  echo 0 >"$T/m/uid"
}
# expect NAME CODE: runs `deps.sh build check` on the scripted machine
expect() {
  PATH="$T/bin" M="$T/m" "$T/bin/sh" "$root/tools/deps.sh" build check >"$T/out" 2>&1
  got=$?
  [ $got = "$2" ] || { echo "FAIL: $1: exit code $got, expected $2"; cat "$T/out" "$T/m/log"; bad=1; }
}
log_has() { grep -Eq -- "$2" "$T/m/log" || { echo "FAIL: $1: no /$2/ in what was run:"; cat "$T/m/log"; bad=1; }; }
log_empty() { [ ! -s "$T/m/log" ] || { echo "FAIL: $1: something ran:"; cat "$T/m/log"; bad=1; }; }
says() { grep -Eq -- "$2" "$T/out" || { echo "FAIL: $1: does not say /$2/:"; cat "$T/out"; bad=1; }; }
everything() { awk '!/^#/ && NF {print $2}' "$root/tools/packages.txt"; }

machine; everything >"$T/m/have"; expect present 0; log_empty present
machine; expect root 0; log_has root 'install -y .*build-essential.*libcmocka-dev'; says root 'installing with .apt-get install.: build-essential'
[ "$(grep -c -- '-f install' "$T/m/log")" = 0 ] || { echo "FAIL: root: repaired without need"; bad=1; }
machine; everything | grep -v libnlopt >"$T/m/have"; expect one 0; log_has one 'install -y --no-install-recommends libnlopt-dev$'
machine; echo 1000 >"$T/m/uid"; cp "$T/bin/sudo.off" "$T/bin/sudo"; expect sudo 0; log_has sudo '^sudo env .*apt-get'; says sudo 'sudo apt-get install'
machine; echo 1000 >"$T/m/uid"; expect no_rights 1; log_empty no_rights; says no_rights 'as root run: apt-get install build-essential'
machine; : >"$T/m/broken"; expect interrupted 0; log_has interrupted '^dpkg --configure -a'; says interrupted 'interrupted'
machine; : >"$T/m/offline"; expect offline 1; says offline 'still missing: .*cmake'; says offline 'run the same command again'
[ $bad = 0 ] && echo "deps.sh behaves"
exit $bad
