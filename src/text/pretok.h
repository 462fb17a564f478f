// The GPT-2 pre-tokenizer as a scanner: cuts bytes into pieces that byte-pair merges never cross.
#ifndef ISO_TEXT_PRETOK_H
#define ISO_TEXT_PRETOK_H
#include "base/status.h"

// Pieces are the successive matches of
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// (Radford et al. 2019, GPT-2) over UTF-8, with \p{L}, \p{N} and White_Space of Unicode 16. A byte that is not part of valid
// UTF-8 counts as one character of the third class. Pieces join to the input, none is empty.

// Length in bytes of the first piece of p[0..n), n > 0. `p` must be where a piece starts.
size_t iso_pretok_next(const uint8_t *p, size_t n);

// A place near `at` where the text can be cut without changing any piece: the smallest cut >= at such that an ASCII white space
// follows a character that is none; n when there is none.
size_t iso_pretok_cut(const uint8_t *p, size_t n, size_t at);

// Class of a code point: 0 other, 1 letter (L*), 2 number (N*), 3 white space.
int iso_pretok_class(uint32_t code_point);

// Decodes the character at p[0..n), n > 0: its length in bytes, its code point in *cp; an invalid byte is length 1 and *cp = UINT32_MAX.
size_t iso_utf8_next(const uint8_t *p, size_t n, uint32_t *cp);
#endif
