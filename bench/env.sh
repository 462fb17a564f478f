# Settings that the bench scripts share (they source it): where isoflop, the peers' scripts and the peers' Python are.
set -eu
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$bench")
isoflop=${ISOFLOP:-$root/build/isoflop}
shared=${ISOFLOP_SHARED:-$root/../shared}
peers=$shared/peers
py=${PEERS_VENV:?the virtual environment of the peers, see bench/README.md}/bin/python
rounds=${ROUNDS:-2}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
[ -x "$isoflop" ] || { echo "no $isoflop: run make first, or set ISOFLOP" >&2; exit 1; }
[ -d "$peers" ] || { echo "no $peers: set ISOFLOP_SHARED to the folder that holds peers/ and data/" >&2; exit 1; }

pair() { "$py" "$bench/pair.py" --rounds "$rounds" "$@"; }

# The default text: GCIDE as Debian ships it, its three stray bytes replaced, since the peers read UTF-8 only.
gcide() {
    zcat /usr/share/dictd/gcide.dict.dz | "$py" -c 'import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().decode("utf-8", "replace").encode())' > "$tmp/gcide.txt"
    echo "$tmp/gcide.txt"
}

# Dot products without tiles are slower than f32 on Intel.
cpu_gains_by_bf16() { grep -q amx_bf16 /proc/cpuinfo || { grep -q avx512_bf16 /proc/cpuinfo && ! grep -q GenuineIntel /proc/cpuinfo; }; }
cpu_has_bf16() { grep -qE 'avx512_bf16|amx_bf16' /proc/cpuinfo; }
