// Growable arrays of token ids.
#include "text/bytes.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

void iso_huge_pages(void *p, size_t bytes) {
  const uintptr_t page = 4096;
  uintptr_t from = ((uintptr_t)p + page - 1) & ~(page - 1), to = ((uintptr_t)p + bytes) & ~(page - 1);
  if (bytes >= (size_t)4 << 20) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);  // refused: it is slower, no more
}

iso_status iso_ids_room(iso_ids *a, int64_t more, iso_err *err) {
  if (more < 0 || more > INT64_MAX / 8 - a->n) return iso_fail(err, ISO_ENOMEM, "%lld more token ids are too many", (long long)more);
  int64_t need = a->n + more;
  if (need <= a->cap) return ISO_OK;
  int64_t cap = a->cap + a->cap / 2;
  if (cap < need) cap = need;
  if (cap < 64) cap = 64;
  int32_t *p = realloc(a->p, (size_t)cap * sizeof *p);
  if (!p) return iso_fail(err, ISO_ENOMEM, "no memory for %lld token ids", (long long)cap);
  a->p = p;
  a->cap = cap;
  iso_huge_pages(p, (size_t)cap * sizeof *p);
  return ISO_OK;
}

iso_status iso_ids_put(iso_ids *a, const int32_t *ids, int64_t n, iso_err *err) {
  if (n == 0) return ISO_OK;
  ISO_TRY(iso_ids_room(a, n, err));
  memcpy(a->p + a->n, ids, (size_t)n * sizeof *ids);
  a->n += n;
  return ISO_OK;
}

void iso_ids_free(iso_ids *a) {
  free(a->p);
  *a = (iso_ids){0};
}
