// Borrowed bytes and growable token ids: the two shapes that text takes on its way into shards.
#ifndef ISO_TEXT_BYTES_H
#define ISO_TEXT_BYTES_H
#include "base/status.h"

// A borrowed range of bytes; p may be NULL when n is 0.
typedef struct iso_bytes {
  const uint8_t *p;
  size_t n;
} iso_bytes;

// A growable array of token ids. Zero-initialise; free with iso_ids_free.
typedef struct iso_ids {
  int32_t *p;  // owned
  int64_t n, cap;
} iso_ids;
// Makes room for `more` ids after the last; ISO_ENOMEM says how much was wanted.
iso_status iso_ids_room(iso_ids *a, int64_t more, iso_err *err);
iso_status iso_ids_put(iso_ids *a, const int32_t *ids, int64_t n, iso_err *err);
void iso_ids_free(iso_ids *a);
// Asks for huge pages under memory of 4 MiB or more: a fault for every 4 KiB of ids would cost as much as making them.
void iso_huge_pages(void *p, size_t bytes);
#endif
