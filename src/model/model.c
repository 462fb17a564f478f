// Weights: layout, start values, names.
#include "model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

iso_status iso_model_open(iso_ctx *c, const iso_model_config *config, iso_model **out, iso_err *err) {
  *out = NULL;
  const iso_arch *arch;
  ISO_TRY(iso_config_check(config, err));
  ISO_TRY(iso_arch_find(config->arch, &arch, err));
  iso_model *m = calloc(1, sizeof *m);
  if (!m) return iso_fail(err, ISO_ENOMEM, "no memory for a model");
  m->ctx = c;
  m->config = *config;
  iso_bind one = {{1, 1, 1}};
  void *w;
  iso_status st;
  ISO_TRYG(iso_graph_open(&m->g, err));
  ISO_TRYG(arch->build(config, &(iso_build){.mode = ISO_MODE_LOSS}, m->g, &m->io, err));
  ISO_TRYG(iso_pass_memory(m->g, &one, sizeof(float), false, (iso_recompute){0}, &m->layout, err));
  m->weight_bytes = m->layout.bytes[ISO_ROLE_WEIGHT];
  ISO_TRYG(iso_mem_get(c, (size_t)m->weight_bytes, "weights", &w, err));
  m->weights = w;
  *out = m;
  return ISO_OK;
done:
  iso_model_close(m);
  return st;
}

void iso_model_close(iso_model *m) {
  if (!m) return;
  if (m->weights) iso_mem_put(m->ctx, m->weights, (size_t)m->weight_bytes);
  iso_arena_layout_close(&m->layout);
  iso_graph_close(m->g);
  free(m);
}

float *iso_model_weight(const iso_model *m, int t, int layer) {
  const iso_place *p = &m->layout.place[t];
  return m->weights + (p->offset + p->stride * layer) / (int64_t)sizeof(float);
}

int64_t iso_model_params(const iso_model *m) { return iso_graph_params(m->g).all; }

void iso_model_init(iso_model *m, uint64_t seed) {
  iso_bind one = {{1, 1, 1}};
  for (int t = 0, ordinal = 0; t < m->g->n_tensors; t++) {
    const iso_tensor *x = &m->g->tensor[t];
    if (x->role != ISO_ROLE_WEIGHT) continue;
    int64_t n = iso_tensor_elems(x, &one) * iso_tensor_copies(m->g, x);
    float *w = iso_model_weight(m, t, 0);
    for (int64_t i = 0; i < n; i++)
      w[i] = x->init_one ? 1.0f : x->init_std > 0 ? (float)(x->init_std * iso_rng_normal(seed, ISO_RNG_INIT, (uint64_t)ordinal, (uint64_t)i)) : 0.0f;
    ordinal++;
  }
}

// "model.layers.*.x" with * as the layer number.
static void name_of(const char *pattern, int layer, char *out, size_t n) {
  const char *star = strchr(pattern, '*');
  if (star)
    (void)snprintf(out, n, "%.*s%d%s", (int)(star - pattern), pattern, layer, star + 1);
  else
    (void)snprintf(out, n, "%s", pattern);
}

iso_status iso_model_each(const iso_model *m, iso_weight_fn fn, void *arg, iso_err *err) {
  iso_bind one = {{1, 1, 1}};
  for (int t = 0; t < m->g->n_tensors; t++) {
    const iso_tensor *x = &m->g->tensor[t];
    if (x->role != ISO_ROLE_WEIGHT) continue;
    int64_t cols = x->rank > 1 ? iso_dim_eval(x->dim[1], &one) : 1;
    for (int layer = 0; layer < iso_tensor_copies(m->g, x); layer++) {
      float *w = iso_model_weight(m, t, layer);
      for (int p = 0; p < x->n_parts; p++) {
        iso_named_weight v = {.w = w, .rows = x->part[p].rows, .cols = cols, .rank = x->rank};
        name_of(x->part[p].name, layer, v.name, sizeof v.name);
        ISO_TRY(fn(arg, &v, err));
        w += v.rows * cols;
      }
    }
  }
  return ISO_OK;
}
