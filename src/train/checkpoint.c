// Checkpoints: one atomic safetensors file keyed by canonical paths, exact enough to continue bit for bit.
#include <stdlib.h>
#include <string.h>

#include "model/fmt_safetensors.h"
#include "train/trainer.h"

// Metadata key, and the format's version inside it.
static const char META[] = "isoflop.checkpoint", EXTRA[] = "isoflop.extra";
enum { VERSION = 1, NUMBERS = 3 };

static json_t *describe(iso_trainer *t) {
  const iso_train_state *s = iso_trainer_state(t);
  return json_pack("{s:i, s:I, s:I, s:I, s:I, s:o, s:o}", "version", VERSION, "step", (json_int_t)s->step, "end", (json_int_t)s->end, "window",
                   (json_int_t)s->window, "tokens", (json_int_t)s->tokens, "model", iso_config_json(&iso_trainer_model(t)->config), "options",
                   iso_train_opts_json(iso_trainer_opts(t)));
}

static bool kept(const iso_tensor *t) { return t->role == ISO_ROLE_WEIGHT || t->role == ISO_ROLE_OPTIM; }

static int64_t all_elems(const iso_graph *g, const iso_tensor *t) {
  iso_bind one = {{1, 1, 1}};
  return iso_tensor_elems(t, &one) * iso_tensor_copies(g, t);
}

iso_status iso_trainer_save(iso_trainer *t, const char *path, const json_t *extra, iso_err *err) {
  iso_st_writer *w = NULL;
  iso_graph *g = iso_trainer_graph(t);
  json_t *meta = NULL;
  char *text = NULL, *more = NULL;
  iso_status st;
  ISO_TRYG(iso_st_writer_open(&w, err));
  for (int i = 0; i < g->n_tensors; i++) {
    const iso_tensor *x = &g->tensor[i];
    if (!kept(x)) continue;
    int64_t n = all_elems(g, x);
    ISO_TRYG(iso_st_add(w, x->path, ISO_ST_F32, 1, &n, iso_exec_at(iso_trainer_exec(t), i, 0), err));
  }
  int64_t steps, numbers = NUMBERS;
  const double *factors = iso_trainer_factors(t, &steps);
  const iso_train_state *s = iso_trainer_state(t);
  double state[NUMBERS] = {s->decay_p, s->loss_ema, s->loss_best};
  ISO_TRYG(iso_st_add(w, "schedule.factor", ISO_ST_F64, 1, &steps, factors, err));
  ISO_TRYG(iso_st_add(w, "schedule.state", ISO_ST_F64, 1, &numbers, state, err));
  meta = describe(t);
  text = meta ? json_dumps(meta, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
  more = json_dumps(extra ? extra : json_null(), JSON_COMPACT | JSON_REAL_PRECISION(17) | JSON_ENCODE_ANY);
  if (!text || !more) {
    st = iso_fail(err, ISO_ENOMEM, "%s: no memory for a checkpoint", path);
    goto done;
  }
  ISO_TRYG(iso_st_meta(w, META, text, err));
  ISO_TRYG(iso_st_meta(w, EXTRA, more, err));
  ISO_TRYG(iso_st_commit(iso_trainer_model(t)->ctx, w, path, err));
done:
  json_decref(meta);
  free(text);
  free(more);
  iso_st_writer_close(w);
  return st;
}

// The first key in which two option objects differ, for the message.
static const char *differs(const json_t *a, const json_t *b) {
  const char *key;
  json_t *v;
  json_object_foreach((json_t *)(uintptr_t)a, key, v) {
    if (!json_equal(v, json_object_get(b, key))) return key;
  }
  return NULL;
}

static iso_status check(iso_trainer *t, const char *path, const json_t *meta, iso_err *err) {
  json_t *now = describe(t);
  int64_t version = 0;
  iso_status st = iso_json_get_i64(meta, "version", path, 1, VERSION, &version, err);
  const char *parts[] = {"model", "options"};
  for (int i = 0; i < 2 && st == ISO_OK; i++) {
    const char *key = differs(json_object_get(now, parts[i]), json_object_get(meta, parts[i]));
    if (!key) continue;
    iso_fail(err, ISO_EINVAL, "%s: this run was started with another %s (%s differs)", path, key, parts[i]);
    st = iso_hint(err, ISO_EINVAL, "use the same options to go on, or another --out to start afresh");
  }
  json_decref(now);
  return st;
}

static iso_status take(iso_trainer *t, const iso_st *f, const json_t *meta, const char *path, iso_err *err) {
  iso_graph *g = iso_trainer_graph(t);
  const int64_t big = INT64_C(1) << 53;
  iso_train_state s = {0};
  ISO_TRY(iso_json_get_i64(meta, "step", path, 0, iso_trainer_opts(t)->steps, &s.step, err));
  ISO_TRY(iso_json_get_i64(meta, "window", path, 0, big, &s.window, err));
  ISO_TRY(iso_json_get_i64(meta, "tokens", path, 0, big, &s.tokens, err));
  ISO_TRY(iso_json_get_i64(meta, "end", path, s.step, iso_trainer_opts(t)->steps, &s.end, err));
  double state[NUMBERS], *factors = malloc((size_t)(s.step + 1) * sizeof *factors);
  if (!factors) return iso_fail(err, ISO_ENOMEM, "%s: no memory for the schedule", path);
  iso_status st;
  ISO_TRYG(iso_st_take(f, "schedule.state", ISO_ST_F64, NUMBERS, state, err));
  ISO_TRYG(iso_st_take(f, "schedule.factor", ISO_ST_F64, s.step, factors, err));
  ISO_TRYG(iso_trainer_set_factors(t, factors, s.step, err));
  for (int i = 0; i < g->n_tensors; i++)
    if (kept(&g->tensor[i]))
      ISO_TRYG(iso_st_take(f, g->tensor[i].path, ISO_ST_F32, all_elems(g, &g->tensor[i]), iso_exec_at(iso_trainer_exec(t), i, 0), err));
  s.decay_p = state[0];
  s.loss_ema = state[1];
  s.loss_best = state[2];
  *iso_trainer_state(t) = s;
done:
  free(factors);
  return st;
}

iso_status iso_trainer_load(iso_trainer *t, const char *path, json_t **extra, iso_err *err) {
  iso_st *f = NULL;
  json_t *meta = NULL;
  iso_status st;
  ISO_TRYG(iso_st_open(path, &f, err));
  const char *text = iso_st_metadata(f, META), *more = iso_st_metadata(f, EXTRA);
  if (!text) {
    st = iso_fail(err, ISO_EFORMAT, "%s: a safetensors file, but not a checkpoint of isoflop", path);
    goto done;
  }
  ISO_TRYG(iso_json_parse(text, strlen(text), path, &meta, err));
  ISO_TRYG(check(t, path, meta, err));
  ISO_TRYG(take(t, f, meta, path, err));
  if (extra) {
    *extra = more ? json_loads(more, JSON_DECODE_ANY, NULL) : json_null();
    if (!*extra) st = iso_fail(err, ISO_EFORMAT, "%s: its extra data is not JSON", path);
  }
done:
  json_decref(meta);
  iso_st_close(f);
  return st;
}
