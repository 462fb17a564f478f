"""tiktoken's encoding rate and ids on one thread, with the merges of a Hugging Face tokenizer.json. usage: tiktoken_encode.py TOKENIZER_JSON FILE"""
import json, sys, time, zlib
import numpy as np, tiktoken

with open(sys.argv[1], encoding="utf-8") as f:
    model = json.load(f)["model"]
own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
byte_of = {chr(b): b for b in own} | {chr(256 + i): b for i, b in enumerate(b for b in range(256) if b not in own)}
pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
tokens = list(dict.fromkeys(sorted(byte_of) + [a + b for a, b in pairs]))  # rank order
ids = np.array([model["vocab"][t] for t in tokens], dtype="<u4")
enc = tiktoken.Encoding("bench", pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
                        mergeable_ranks={bytes(byte_of[c] for c in t): r for r, t in enumerate(tokens)}, special_tokens={})
text = open(sys.argv[2], encoding="utf-8", newline="").read()
enc.encode_ordinary(text[:1_000_000])
t = time.perf_counter()
out = enc.encode_ordinary(text)
t = time.perf_counter() - t
print(json.dumps(dict(phase="encode", threads=1, seconds=t, mb_per_s=len(text.encode()) / 1e6 / t, tokens=len(out),
                      ids_crc32=f"{zlib.crc32(ids[np.array(out)].tobytes()):08x}")))
