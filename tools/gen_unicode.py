#!/usr/bin/env python3
"""Writes src/text/ucd.h: two bits a code point (0 other, 1 letter, 2 number, 3 white space) as a two-stage table.

Needs the Python package `tokenizers` 0.23, whose regular expressions know Unicode 16.0: its ByteLevel pre-tokenizer is asked about every code point.
Where this Python's own unicodedata knows a code point, both must agree.
"""
import sys
import unicodedata as u

from tokenizers import pre_tokenizers

SPACE = {0x9, 0xA, 0xB, 0xC, 0xD, 0x20, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}  # PropList.txt
BLOCK = 256
SPLIT = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True).pre_tokenize_str


def cls(cp):
    if 0xD800 <= cp < 0xE000:
        return 0
    c = chr(cp)
    k = next((k for k, before in ((1, "a"), (2, "1"), (0, "!")) if len(SPLIT(before + c)) == 1), 3)
    assert (k == 3) == (cp in SPACE), hex(cp)
    if u.category(c) != "Cn":
        assert k in (3, {"L": 1, "N": 2}.get(u.category(c)[0], 0)), hex(cp)
    return k


def rows(v):
    out, line = [], "   "
    for x in v:
        t = f" {x},"
        if len(line) + len(t) > 148:
            out.append(line)
            line = "   "
        line += t
    return "\n".join(out + [line])


def main(path):
    codes = [cls(c) for c in range(0x110000)]
    last = max(i for i, c in enumerate(codes) if c) // BLOCK + 1
    blocks, index = [], []
    for b in range(last):
        part = codes[b * BLOCK:(b + 1) * BLOCK]
        packed = tuple(sum(part[i + j] << (2 * j) for j in range(4)) for i in range(0, BLOCK, 4))
        if packed not in blocks:
            blocks.append(packed)
        index.append(blocks.index(packed))
    assert len(blocks) <= 256
    flat = [x for b in blocks for x in b]
    with open(path, "w") as f:
        f.write("// Unicode 16 classes as a two-stage table of two bits a code point; made by tools/gen_unicode.py, not by hand.\n")
        f.write("#ifndef ISO_TEXT_UCD_H\n#define ISO_TEXT_UCD_H\n#include <stdint.h>\n\n// clang-format off\n")
        f.write(f"enum {{ UCD_BLOCKS = {last} }};  // code points from UCD_BLOCKS * 256 on are all class 0\n")
        f.write(f"static const uint8_t ucd_index[UCD_BLOCKS] = {{\n{rows(index)}\n}};\n")
        f.write(f"static const uint8_t ucd_bits[{len(blocks)} * 64] = {{\n{rows(flat)}\n}};\n// clang-format on\n#endif\n")


main(sys.argv[1] if len(sys.argv) > 1 else "src/text/ucd.h")
