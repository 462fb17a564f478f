"""Writes what llm.c's CPU program reads to time a step: random GPT-2 124M weights and random token shards. usage: llmc_data.py LLMC_DIR (standard library only)"""
import array, os, random, sys

root = sys.argv[1]
L, H, C, V, VP, T = 12, 12, 768, 50257, 50304, 1024
rng = random.Random(0)
MATRIX = [0.02 * rng.gauss(0, 1) for _ in range(99991)]  # a prime, so that rows do not repeat it in step
# llm.c's order: wte wpe ln1w ln1b qkvw qkvb attprojw attprojb ln2w ln2b fcw fcb fcprojw fcprojb lnfw lnfb
SIZES = [(VP * C, None), (T * C, None), (L * C, 1), (L * C, 0), (L * 3 * C * C, None), (L * 3 * C, 0), (L * C * C, None), (L * C, 0),
         (L * C, 1), (L * C, 0), (L * 4 * C * C, None), (L * 4 * C, 0), (L * 4 * C * C, None), (L * C, 0), (C, 1), (C, 0)]


def header(f, *values):
    f.write(array.array("i", list(values) + [0] * (256 - len(values))).tobytes())


def floats(f, n, value):
    block = array.array("f", MATRIX if value is None else [value] * len(MATRIX))
    for _ in range(n // len(block)):
        f.write(block.tobytes())
    f.write(block[:n % len(block)].tobytes())


with open(os.path.join(root, "gpt2_124M.bin"), "wb") as f:
    header(f, 20240326, 3, T, V, L, H, C, VP)
    for n, value in SIZES:
        floats(f, n, value)
folder = os.path.join(root, "dev", "data", "tinyshakespeare")
os.makedirs(folder, exist_ok=True)
for name in ("train", "val"):
    with open(os.path.join(folder, f"tiny_shakespeare_{name}.bin"), "wb") as f:
        header(f, 20240520, 1, 32768)
        f.write(array.array("H", [rng.randrange(V) for _ in range(32768)]).tobytes())
