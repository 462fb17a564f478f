// The phases that come before planning: the machine and the data.
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "loop/env.h"
#include "loop/recipe.h"

enum { MIN_TRAIN = 9 };  // tokens: a window of the shortest context and its last target

static iso_status use_kernels(iso_env *e, const char *prec, iso_err *err) {
  if (strcmp(prec, "auto") == 0)
    e->precision = iso_calibrate_precision(&e->hw);
  else
    ISO_TRY(iso_precision_parse(prec, &e->precision, err));
  return iso_kern_select(e->precision, &e->ctx->kern, err);
}

iso_status iso_env_calibrate_cost(const iso_env *e, iso_calibrate_level level, iso_cost *out, iso_err *err) {
  bool quick = level == ISO_CALIBRATE_QUICK;
  double buffers = iso_calibrate_ram_b(level, &e->hw), most = buffers, now = iso_meter_rss_b();
  // Which precision is timed is known after the machine was measured: the larger of the two counts.
  for (iso_precision p = ISO_PREC_f32; p <= (iso_calibrate_native_bf16(NULL) ? ISO_PREC_bf16 : ISO_PREC_f32); p++) {
    iso_ctx with = *e->ctx;
    double steps;
    ISO_TRY(iso_kern_select(p, &with.kern, err));
    ISO_TRY(iso_calibrate_steps_ram_b(&with, level, NULL, &steps, err));
    most = fmax(most, steps);
  }
  if (!isfinite(now)) now = 16e6;
  // Upper ends: the seconds that the two calibrations keep to, and start-up; memory: a tenth and what oneDNN and thread stacks hold.
  *out = iso_env_seconds(e, quick ? iso_est_range(1, 4, 6) : iso_est_range(8, 25, 38));
  out->peak_ram = iso_est_range(now + buffers, now + most, now + 1.1 * most + 16e6);
  return ISO_OK;
}

iso_status iso_env_machine(iso_env *e, bool fresh, const char *prec, iso_err *err) {
  iso_hw known;
  iso_err none = {0};
  if (!fresh && iso_hw_load(e->hw.id, &known, &none) == ISO_OK && strcmp(known.source, "calibrated") == 0) {
    e->hw = known;
    ISO_TRY(use_kernels(e, prec, err));
    if (iso_step_model_load(e->ctx, e->hw.id, &e->steps, &none) == ISO_OK) return ISO_OK;
  }
  iso_cost cost;
  iso_phase p;
  ISO_TRY(iso_env_calibrate_cost(e, ISO_CALIBRATE_QUICK, &cost, err));
  ISO_TRY(iso_phase_start(e, "calibrate", &cost, &p, err));
  iso_env_note(e, ISO_EVENT_PHASE, "calibrate", "measuring this machine with %d threads", iso_pool_threads(e->ctx->pool));
  iso_status st = iso_calibrate(e->ctx, ISO_CALIBRATE_QUICK, &p.meter, &e->hw, err);
  if (st == ISO_OK) st = use_kernels(e, prec, err);
  if (st == ISO_OK) st = iso_calibrate_steps(e->ctx, ISO_CALIBRATE_QUICK, &e->hw, NULL, &p.meter, &e->steps, err);
  if (st == ISO_OK) (void)iso_step_model_save(e->ctx, &e->steps, &none);  // a read-only home costs a repetition, no more
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  if (st == ISO_OK)
    iso_note(e->ctx, ISO_EVENT_PHASE, "calibrate", "%s: f32 %.0f GFLOP/s (GEMM), memory %.0f GB/s, kernels %s, energy by %s", e->hw.name,
             e->hw.gemm_f32_flop_s / 1e9, e->hw.dram_b_s / 1e9, e->ctx->kern->name, e->hw.energy_source);
  return st == ISO_OK ? end : st;
}

// What is wrong with a text is the file's fault, not the command's.
static iso_status of_text(iso_status st, iso_err *err) {
  if (st != ISO_EINVAL) return st;
  err->status = ISO_EFORMAT;
  return ISO_EFORMAT;
}

// Finished shards of the very same text: names, bytes and hashes are in dataset.json.
static bool reusable(const iso_data_opts *o, const iso_docs *d) {
  char path[4200];
  iso_err none = {0};
  json_t *j = NULL;
  (void)snprintf(path, sizeof path, "%s/dataset.json", o->out_dir);
  if (!iso_file_exists(path) || iso_json_load(path, &j, &none) != ISO_OK) return false;
  const json_t *src = json_object_get(j, "sources");
  bool same = json_array_size(src) == (size_t)d->n_src;
  for (int i = 0; same && i < d->n_src; i++) {
    const json_t *s = json_array_get(src, (size_t)i);
    char hash[20];
    (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)d->src[i].hash);
    const char *h = json_string_value(json_object_get(s, "hash"));
    same = h && strcmp(h, hash) == 0 && json_integer_value(json_object_get(s, "bytes")) == (json_int_t)d->src[i].bytes;
  }
  same = same && json_integer_value(json_object_get(j, "vocab")) == (o->vocab ? o->vocab : 8192);
  if (same && o->tokenizer) {  // of a model that is trained further: one of the same size is not enough
    iso_tok *t = NULL;
    char hash[20] = "";
    if (iso_tok_load(o->tokenizer, &t, &none) == ISO_OK) (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)iso_tok_hash(t));
    iso_tok_close(t);
    const char *h = json_string_value(json_object_get(j, "tokenizer_hash"));
    same = h && strcmp(h, hash) == 0;
  }
  json_decref(j);
  return same;
}

iso_status iso_env_open_shards(iso_env *e, const char *dir, iso_err *err) {
  ISO_TRY(iso_shards_open(dir, &e->data, err));
  ISO_TRY(iso_shards_tok(e->data, &e->tok, err));
  if (e->data->val_tokens < 2)
    return iso_fail(err, ISO_EFORMAT, "%s: the held-out part has %lld tokens, at least 2 are needed", dir, (long long)e->data->val_tokens);
  if (e->data->train_tokens < MIN_TRAIN)
    return iso_fail(err, ISO_EFORMAT, "%s: the training part has %lld tokens, at least %d are needed", dir, (long long)e->data->train_tokens,
                    MIN_TRAIN);
  e->val_bytes_per_tok = (double)e->data->val_bytes / (double)e->data->val_tokens;
  return ISO_OK;
}

// Reads, learns and encodes; `bytes` of text are expected.
static iso_status build_data(iso_env *e, const iso_data_opts *o, double bytes, iso_data_report *rep, iso_err *err) {
  double mean = 0.2 + bytes / 30e6;
  iso_cost cost = iso_env_seconds(e, iso_est_range(0.2 * mean, mean, 3 * mean));
  cost.peak_ram = iso_est_range(10e6, 30e6 + 2 * bytes, 100e6 + 6 * bytes);
  cost.disk = iso_est_range(bytes / 4, bytes, 3 * bytes);
  iso_phase p;
  ISO_TRY(iso_phase_start(e, "data", &cost, &p, err));
  iso_env_note(e, ISO_EVENT_PHASE, "data", "%.1f MB of text: learning %d tokens, encoding", bytes / 1e6, o->vocab ? o->vocab : 8192);
  iso_status st = of_text(iso_data_build(e->ctx, o, rep, err), err);
  iso_meter_count(&p.meter, ISO_RES_disk, 2.0 * (double)(rep->train_tokens + rep->val_tokens));
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  if (st == ISO_OK) st = end;
  if (st != ISO_OK) return st;
  iso_note(e->ctx, ISO_EVENT_PHASE, "data", "%.2f M training tokens, %.3f M held out, %.2f bytes a token", (double)rep->train_tokens / 1e6,
           (double)rep->val_tokens / 1e6, rep->bytes_per_tok);
  return iso_env_open_shards(e, o->out_dir, err);
}

iso_status iso_env_data(iso_env *e, const iso_data_opts *o, iso_data_report *rep, iso_err *err) {
  // 30 MB/s is slow for reading, learning merges and encoding together; the interval is wide since texts differ.
  double bytes = 0;
  iso_docs *d = NULL;
  bool piped = false;  // standard input can be read once only: it is not looked at beforehand
  for (int i = 0; i < o->n_paths; i++) piped = piped || strcmp(o->paths[i], "-") == 0;
  if (piped) return build_data(e, o, 40e6, rep, err);
  iso_status st = o->n_paths > 0 ? iso_docs_open(e->ctx, o->paths, o->n_paths, &o->source, &d, err)
                                 : iso_docs_open_gcide(e->ctx, o->gcide_dir, &o->source, &d, err);
  if (st != ISO_OK) return of_text(st, err);
  bytes = (double)d->bytes;
  bool same = reusable(o, d);
  iso_docs_close(d);
  *rep = (iso_data_report){0};
  return same ? iso_env_open_shards(e, o->out_dir, err) : build_data(e, o, bytes, rep, err);
}

// Bytes of all files as they are on disk; 40 MB stands for GCIDE.
static double text_bytes(const iso_text_opts *o) {
  double bytes = o->n > 0 ? 0 : 40e6;
  for (int i = 0; i < o->n; i++) {
    iso_map m;
    iso_err none = {0};
    if (iso_map_open(o->texts[i], &m, &none) == ISO_OK) bytes += (double)m.size;
    iso_map_close(&m);
  }
  return bytes;
}

iso_status iso_env_text_there(const iso_text_opts *o, iso_err *err) {
  for (int i = 0; i < o->n; i++) {
    struct stat s;
    if (strcmp(o->texts[i], "-") == 0) continue;
    if (stat(o->texts[i], &s) != 0) return iso_fail(err, ISO_EIO, "%s: cannot open: %s", o->texts[i], strerror(errno));
    if (S_ISDIR(s.st_mode)) return iso_fail(err, ISO_EIO, "%s: is a folder, not a file of text", o->texts[i]);
    if (S_ISREG(s.st_mode) && s.st_size == 0) {
      iso_fail(err, ISO_EFORMAT, "%s: no text in this file", o->texts[i]);
      return iso_hint(err, ISO_EFORMAT, "give a file that is not empty");
    }
  }
  return ISO_OK;
}

iso_status iso_env_text(iso_env *e, const iso_text_opts *o, iso_err *err) {
  char dir[4200];
  double s = iso_env_affordable_s(e), bytes = text_bytes(o), rate = isfinite(e->hw.gemm_f32_flop_s) ? 0.6 * e->hw.gemm_f32_flop_s : 5e10;
  double flop = fmin(iso_run_left(e->run).train_flop, isfinite(s) ? s * rate : INFINITY);
  (void)snprintf(dir, sizeof dir, "%s/data", o->out_dir);
  ISO_TRY(iso_mkdirs(dir, err));
  // Learning merges needs no more than a sample of a large text.
  iso_data_opts d = {.paths = o->texts, .n_paths = o->n, .out_dir = dir, .tokenizer = o->tokenizer, .tok_max_bytes = 16000000};
  int64_t as_vocab = json_integer_value(json_object_get(o->as, "vocab")), as_max = json_integer_value(json_object_get(o->as, "max_bytes"));
  bool as_before = as_vocab >= 256 + ISO_TOK_SPECIALS && as_vocab <= ISO_TOK_VOCAB_MAX && as_max >= 0;
  d.vocab = o->vocab > 0 ? (int)o->vocab : as_before ? (int)as_vocab : iso_recipe_vocab(flop, bytes);
  if (o->max_bytes > 0)
    d.source.max_bytes = (size_t)o->max_bytes;
  else if (as_before)
    d.source.max_bytes = (size_t)as_max;
  else if (s * 1e6 < 1e15)  // text that can be read and encoded in a twelfth of the time: more would never be trained on
    d.source.max_bytes = (size_t)fmax(s * 1e6, 4e6);
  if (d.source.max_bytes > 0 && bytes > (double)d.source.max_bytes)
    iso_env_note(e, ISO_EVENT_NOTE, "data", "reading the first %.1f MB of %.1f MB: the budget cannot use more (--max-bytes decides otherwise)",
                 (double)d.source.max_bytes / 1e6, bytes / 1e6);
  e->text_vocab = d.vocab;
  e->text_max_b = (int64_t)d.source.max_bytes;
  iso_data_report rep;
  return iso_env_data(e, &d, &rep, err);
}

json_t *iso_env_text_json(const iso_env *e) {
  return json_pack("{s:I, s:I}", "vocab", (json_int_t)e->text_vocab, "max_bytes", (json_int_t)e->text_max_b);
}

int64_t iso_env_context(const iso_env *e, int64_t want) {
  int64_t t = want > 0 ? want : 256;
  while (t > 8 && e->data->train_tokens < 8 * (t + 1)) t /= 2;
  return t;
}
