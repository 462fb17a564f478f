// Our side of hf_roundtrip.py: saves a random model as a Hugging Face folder or loads one, and prints its loss on given ids.
//   hf_roundtrip save ARCH TIED f32|bf16 DIR ID...      saves, loads what it saved, prints nats per token
//   hf_roundtrip load DIR ID...                         loads, prints nats per token
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/fmt_hf.h"

static void read_ids(void *arg, int64_t start, int64_t n, int32_t *out) {
  char **text = arg;
  for (int64_t i = 0; i < n; i++) out[i] = atoi(text[start + i]);
}

static iso_status loss_of(iso_ctx *c, const char *dir, char **ids, int n, iso_err *err) {
  iso_model *m;
  iso_eval *e = NULL;
  iso_loss loss;
  ISO_TRY(iso_model_load_hf(c, dir, &m, err));
  iso_status st = iso_eval_open(m, 1, n - 1, &e, err);
  if (st == ISO_OK) st = iso_eval_run(e, read_ids, ids, n, 0, &loss, err);
  if (st == ISO_OK) printf("%.9f\n", loss.nats_per_tok);
  iso_eval_close(e);
  iso_model_close(m);
  return st;
}

static iso_status save(iso_ctx *c, const char *arch, bool tied, bool bf16, const char *dir, iso_err *err) {
  iso_model_config k = {.vocab = 300,
                        .width = 96,
                        .layers = 3,
                        .heads = 6,
                        .kv_heads = 2,
                        .head_dim = 16,
                        .mlp = 200,
                        .ctx = 128,
                        .tied = tied,
                        .norm_eps = 3e-5,
                        .rope_theta = 700};
  iso_model *m;
  (void)snprintf(k.arch, sizeof k.arch, "%s", arch);
  if (strcmp(arch, "gpt2") == 0) k.kv_heads = k.heads;
  ISO_TRY(iso_model_open(c, &k, &m, err));
  iso_model_init(m, 1);
  // Far from the start, so that gains, biases and every layer show in the loss.
  for (int64_t i = 0; i < m->weight_bytes / 4; i++) m->weights[i] += (float)(0.1 * iso_rng_normal(2, ISO_RNG_TEST, 0, (uint64_t)i));
  iso_status st = iso_model_save_hf(c, m, dir, &(iso_hf_opts){bf16 ? ISO_DTYPE_bf16 : ISO_DTYPE_f32, 0, 0}, err);
  iso_model_close(m);
  return st;
}

int main(int argc, char **argv) {
  bool saves = argc > 7 && strcmp(argv[1], "save") == 0;
  iso_err err = {0};
  iso_ctx *c;
  if (!saves && !(argc > 4 && strcmp(argv[1], "load") == 0)) return 2;
  iso_status st = iso_ctx_open(0, &c, &err);
  if (st != ISO_OK) return 1;
  st = iso_kern_select(ISO_PREC_f32, &c->kern, &err);
  if (saves && st == ISO_OK) st = save(c, argv[2], atoi(argv[3]) != 0, strcmp(argv[4], "bf16") == 0, argv[5], &err);
  int skip = saves ? 6 : 3;
  if (st == ISO_OK) st = loss_of(c, argv[saves ? 5 : 2], argv + skip, argc - skip, &err);
  if (st != ISO_OK) fprintf(stderr, "%s\n", err.msg);
  iso_ctx_close(c);
  return st != ISO_OK;
}
