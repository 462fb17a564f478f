// Runs a fuzz target without libFuzzer: the seeds of a folder, a few fixed inputs, and fixed mutations of all of them.
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

enum { MAX_INPUTS = 256, MAX_BYTES = 1 << 16, MUTANTS = 400 };
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
  uint8_t *data;  // owned
  size_t n;
} input;

// An exact-size heap copy, so that the address sanitizer sees a read of one byte too many.
static void run_one(const uint8_t *data, size_t n) {
  uint8_t *copy = malloc(n ? n : 1);
  if (!copy) return;
  if (n) memcpy(copy, data, n);
  LLVMFuzzerTestOneInput(copy, n);
  free(copy);
}

static void add(input *in, int *count, const void *data, size_t n) {
  if (*count == MAX_INPUTS) return;
  in[*count].data = malloc(n ? n : 1);
  if (!in[*count].data) return;
  if (n) memcpy(in[*count].data, data, n);
  in[(*count)++].n = n;
}

static void add_folder(input *in, int *count, const char *folder) {
  DIR *d = opendir(folder);
  if (!d) return;
  static uint8_t buf[MAX_BYTES];
  for (struct dirent *e; (e = readdir(d));) {
    char path[4096];
    if (e->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path) continue;
    FILE *f = fopen(path, "rb");
    if (!f) continue;
    size_t n = fread(buf, 1, sizeof buf, f);
    fclose(f);
    add(in, count, buf, n);
  }
  closedir(d);
}

// Mutant `k` of input `i`: up to eight byte changes, then perhaps a cut or a repeated piece. A function of (i, k) alone.
static size_t mutate(const input *in, int i, int k, uint8_t *out) {
  uint64_t stream = (uint64_t)i, step = (uint64_t)k, at = 0;
  size_t n = in->n < MAX_BYTES / 2 ? in->n : MAX_BYTES / 2;
  memcpy(out, in->data, n);
  int changes = (int)iso_rng_below(1, stream, step, at++, 9);
  static const uint8_t special[] = {0, 0xff, 0x7f, 0x80, '"', '{', '[', '-', 'e', '9', '\n', ','};
  for (int c = 0; c < changes && n; c++) {
    size_t where = (size_t)iso_rng_below(1, stream, step, at++, (int64_t)n);
    int64_t how = iso_rng_below(1, stream, step, at++, 3);
    if (how == 0) out[where] = (uint8_t)iso_rng_below(1, stream, step, at++, 256);
    if (how == 1) out[where] ^= (uint8_t)(1u << iso_rng_below(1, stream, step, at++, 8));
    if (how == 2) out[where] = special[iso_rng_below(1, stream, step, at++, (int64_t)sizeof special)];
  }
  int64_t shape = iso_rng_below(1, stream, step, at++, 4);
  if (shape == 0 && n) n = (size_t)iso_rng_below(1, stream, step, at++, (int64_t)n);
  if (shape == 1 && n) {
    size_t from = (size_t)iso_rng_below(1, stream, step, at++, (int64_t)n), len = n - from;
    memcpy(out + n, out + from, len);
    n += len;
  }
  return n;
}

int main(int argc, char **argv) {
  static input in[MAX_INPUTS];
  static uint8_t buf[MAX_BYTES];
  int count = 0;
  static const char *const fixed[] = {"", "\n", "0", "{}", "[]", "null", "\xff\xfe", "1e999999", "-1", "9223372036854775808"};
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) add(in, &count, fixed[i], strlen(fixed[i]));
  for (int a = 1; a < argc; a++) add_folder(in, &count, argv[a]);
  for (int i = 0; i < count; i++) run_one(in[i].data, in[i].n);
  for (int i = 0; i < count; i++)
    for (int k = 0; k < MUTANTS; k++) run_one(buf, mutate(&in[i], i, k, buf));
  for (int i = 0; i < count; i++) free(in[i].data);
  printf("%d inputs, %d mutants each\n", count, MUTANTS);
  return 0;
}
