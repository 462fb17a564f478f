// Models, clusters and devices of the plan subverbs, and reading plans back for tables.
#include "cli/plan/args.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "gen_version.h"
#include "model/config.h"
#include "plan/hyper.h"

// Ctrl-C, in the thread of signals: the program ends when this returns.
static void interrupted(void *self) {
  const cli_plan *p = self;
  iso_err ignored = {0};
  (void)iso_store_finish(p->store, p->run_id, "interrupted", &ignored);
}

iso_status cli_plan_open(const cli_args *a, cli_plan *p, iso_err *err) {
  const char *region = cli_text(a, "region");
  iso_store_run row = iso_store_run_blank();
  *p = (cli_plan){0};
  ISO_TRY(iso_prices_get(cli_text(a, "prices"), &p->prices, err));
  if (region) ISO_TRY(iso_prices_region(&p->prices, region, err));
  ISO_TRY(iso_store_open(a->ctx, cli_text(a, "store"), &p->store, err));
  row.kind = "plan";
  row.command = a->command;
  row.rev = ISO_REV;
  ISO_TRY(iso_store_begin(p->store, &row, p->run_id, err));
  cli_stop_set(a->stop, interrupted, p);
  return ISO_OK;
}

// Keeps the result; a plan that cannot be kept is still a plan, so only a warning is due.
static void keep(const cli_args *a, cli_plan *p, iso_status st, const iso_err *refused, const json_t *result) {
  iso_err err = {0};
  iso_store_run row = iso_store_run_blank();
  char *text = result ? json_dumps(result, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
  row.result_json = text;
  row.note = st == ISO_OK ? NULL : refused->msg;
  iso_status kept = text || row.note ? iso_store_update(p->store, p->run_id, &row, &err) : ISO_OK;
  if (kept == ISO_OK) kept = iso_store_finish(p->store, p->run_id, st == ISO_OK ? "done" : "failed", &err);
  if (kept != ISO_OK) iso_note(a->ctx, ISO_EVENT_WARN, "plan", "the plan was not kept: %s", err.msg);
  free(text);
}

int cli_plan_close(const cli_args *a, cli_plan *p, iso_status st, const iso_err *err, json_t *result, void (*print)(const json_t *)) {
  int code = EXIT_DONE;
  cli_stop_set(a->stop, NULL, NULL);
  if (p->run_id[0]) keep(a, p, st, err, result);
  iso_store_close(p->store);
  if (st != ISO_OK)
    code = cli_fail(a, st, err);
  else if (a->json)
    code = cli_put_json(json_incref(result));
  else
    print(result);
  // What the budget, or a limit, does not allow is told whole, and is no success.
  if (st == ISO_OK && code == EXIT_DONE && json_is_object(json_object_get(result, "infeasible"))) code = EXIT_BUDGET;
  json_decref(result);
  return code;
}

int cli_plan_run(const cli_args *a, cli_plan_fn plan, void (*print)(const json_t *)) {
  iso_err err = {0};
  cli_plan p;
  json_t *result = NULL;
  iso_status st = cli_plan_open(a, &p, &err);
  if (st == ISO_OK) st = plan(a, &p.prices, &result, &err);
  return cli_plan_close(a, &p, st, &err, result, print);
}

int cli_plan_run_answer(const cli_args *a, const cli_plan_answer *k) {
  iso_err err = {0};
  cli_plan p;
  json_t *result = NULL;
  void *self = calloc(1, k->size);
  iso_status st = cli_plan_open(a, &p, &err);
  if (st == ISO_OK && !self) st = iso_fail(&err, ISO_ENOMEM, "no memory for a plan");
  if (st == ISO_OK) st = k->solve(a, self, &err);
  if (st == ISO_OK) st = k->tell(a, self, &result, &err);
  if (self) k->close(self);
  free(self);
  return cli_plan_close(a, &p, st, &err, result, k->print);
}

// ---- models ---------------------------------------------------------------------------------------------------------

// What training can be planned for: no windowed, recurrent, gated or sparse attention.
static bool plain(const iso_serve_shape *s) { return !s->window_layers && !s->linear_layers && !s->top_k && !s->gated; }

static iso_layout_shape layout_of(const iso_serve_shape *s, int64_t seq) {
  iso_layout_shape o = {.layers = s->layers,
                        .width = s->width,
                        .heads = s->heads,
                        .kv_heads = s->kv_heads,
                        .head_dim = s->head_dim,
                        .mlp = s->experts ? s->expert_mlp : s->mlp,
                        .vocab = s->vocab,
                        .seq = seq,
                        .experts = s->experts,
                        .experts_used = s->used,
                        .gated = s->experts || s->mlp_mats == 3,
                        .tied = s->tied};
  if (s->experts) {
    o.shared = s->shared;
    o.dense_layers = s->dense_layers;
    o.dense_mlp = s->dense_layers ? s->mlp : 0;
  }
  if (s->kv_rank) {
    o.head_dim = s->nope + s->rope;
    o.q_rank = s->q_rank;
    o.kv_rank = s->kv_rank;
    o.rope = s->rope;
    o.v_dim = s->v_dim;
  }
  (void)snprintf(o.name, sizeof o.name, "%s", s->name);
  return o;
}

iso_serve_shape cli_serve_shape_of(const iso_layout_shape *s) {
  iso_serve_shape o = {.layers = s->layers,
                       .width = s->width,
                       .heads = s->heads,
                       .kv_heads = s->kv_heads,
                       .head_dim = s->head_dim,
                       .vocab = s->vocab,
                       .tied = s->tied};
  if (s->experts) {
    o.experts = s->experts;
    o.used = s->experts_used;
    o.expert_mlp = s->mlp;
    o.shared = s->shared;
    o.dense_layers = s->dense_layers;
    o.mlp = s->dense_mlp;
    o.mlp_mats = s->dense_layers ? 3 : 0;
  } else {
    o.mlp = s->mlp;
    o.mlp_mats = s->gated ? 3 : 2;
    o.dense_layers = s->layers;
  }
  if (s->kv_rank) {
    o.head_dim = 0;
    o.q_rank = s->q_rank;
    o.kv_rank = s->kv_rank;
    o.rope = s->rope;
    o.nope = s->head_dim - s->rope;
    o.v_dim = s->v_dim;
  }
  (void)snprintf(o.name, sizeof o.name, "%s", s->name);
  return o;
}

// DeepSeek's names for latent attention.
static iso_status read_latent(const json_t *j, const char *path, iso_layout_shape *s, iso_err *err) {
  const int64_t big = INT64_C(1) << 24;
  int64_t nope;
  ISO_TRY(iso_json_get_i64(j, "kv_lora_rank", path, 1, big, &s->kv_rank, err));
  ISO_TRY(iso_json_get_i64(j, "qk_nope_head_dim", path, 1, big, &nope, err));
  ISO_TRY(iso_json_get_i64(j, "qk_rope_head_dim", path, 1, big, &s->rope, err));
  ISO_TRY(iso_json_get_i64(j, "v_head_dim", path, 1, big, &s->v_dim, err));
  if (!json_is_null(json_object_get(j, "q_lora_rank"))) ISO_TRY(iso_json_opt_i64(j, "q_lora_rank", path, 0, big, &s->q_rank, err));
  s->kv_heads = s->heads;
  s->head_dim = nope + s->rope;
  return ISO_OK;
}

// And for its experts: some shared, none in the first layers, in groups.
static iso_status read_experts(const json_t *j, const char *path, iso_layout_shape *s, iso_err *err) {
  const int64_t big = INT64_C(1) << 24;
  int64_t every = 1;
  ISO_TRY(iso_json_get_i64(j, "num_experts_per_tok", path, 1, s->experts, &s->experts_used, err));
  if (!json_is_null(json_object_get(j, "n_shared_experts"))) ISO_TRY(iso_json_opt_i64(j, "n_shared_experts", path, 0, big, &s->shared, err));
  ISO_TRY(iso_json_opt_i64(j, "moe_layer_freq", path, 1, big, &every, err));
  if (every != 1)
    return iso_fail(err, ISO_EUNSUP, "%s: experts in one of %lld layers; planning knows them in all but the first ones", path, (long long)every);
  ISO_TRY(iso_json_opt_i64(j, "first_k_dense_replace", path, 0, big, &s->dense_layers, err));
  if (s->dense_layers) ISO_TRY(iso_json_get_i64(j, "intermediate_size", path, 1, big, &s->dense_mlp, err));
  ISO_TRY(iso_json_opt_i64(j, "num_nextn_predict_layers", path, 0, 16, &s->mtp, err));
  if (json_is_null(json_object_get(j, "n_group")) || json_is_null(json_object_get(j, "topk_group"))) return ISO_OK;
  ISO_TRY(iso_json_opt_i64(j, "n_group", path, 0, s->experts, &s->groups, err));
  ISO_TRY(iso_json_opt_i64(j, "topk_group", path, 0, s->experts, &s->groups_used, err));
  if (s->groups == 1) s->groups = s->groups_used = 0;  // no limit
  return ISO_OK;
}

// Kinds of blocks in Hugging Face configs that are not llama's: what their model_type says and their keys do not.
static const struct kind {
  const char *type;
  bool plain, bias, learned_pos, tied;  // two MLP matrices; biases; position embeddings; head tied unless the file says otherwise
  const char *layers, *heads, *mlp;     // NULL: llama's key
} KINDS[] = {{"llama", false, false, false, false, NULL, NULL, NULL}, {"gemma", false, false, false, true, NULL, NULL, NULL},
             {"gemma2", false, false, false, true, NULL, NULL, NULL}, {"gpt_neox", true, true, false, false, NULL, NULL, NULL},
             {"phi", true, true, false, false, NULL, NULL, NULL},     {"starcoder2", true, true, false, true, NULL, NULL, NULL},
             {"opt", true, true, true, true, NULL, NULL, "ffn_dim"},  {"bloom", true, true, false, true, "n_layer", "n_head", NULL},
             {"falcon", true, false, false, true, NULL, NULL, NULL}};

static const struct kind *kind_of(const json_t *j) {
  const char *type = json_string_value(json_object_get(j, "model_type"));
  for (size_t i = 1; type && i < ISO_COUNT(KINDS); i++)
    if (strcmp(KINDS[i].type, type) == 0) return &KINDS[i];
  return &KINDS[0];
}

// A Hugging Face config: llama's or DeepSeek's names for its sizes, or those of its kind; what planning needs is in these keys alone.
static iso_status read_hf(const json_t *j, const char *path, iso_layout_shape *s, iso_err *err) {
  const int64_t big = INT64_C(1) << 24;
  const struct kind *k = kind_of(j);
  ISO_TRY(iso_json_get_i64(j, k->layers ? k->layers : "num_hidden_layers", path, 1, big, &s->layers, err));
  ISO_TRY(iso_json_get_i64(j, "hidden_size", path, 1, big, &s->width, err));
  ISO_TRY(iso_json_get_i64(j, k->heads ? k->heads : "num_attention_heads", path, 1, big, &s->heads, err));
  ISO_TRY(iso_json_get_i64(j, "vocab_size", path, 1, big, &s->vocab, err));
  s->kv_heads = s->heads;
  s->head_dim = s->width / s->heads;
  s->gated = !k->plain;
  s->bias = k->bias;
  s->learned_pos = k->learned_pos;
  s->tied = k->tied;
  s->mlp = 4 * s->width;
  if (json_is_true(json_object_get(j, "multi_query"))) s->kv_heads = 1;
  ISO_TRY(iso_json_opt_i64(j, "num_kv_heads", path, 1, big, &s->kv_heads, err));
  ISO_TRY(iso_json_opt_i64(j, "num_key_value_heads", path, 1, big, &s->kv_heads, err));
  ISO_TRY(iso_json_opt_i64(j, "head_dim", path, 1, big, &s->head_dim, err));
  if (json_object_get(j, "index_topk")) return iso_fail(err, ISO_EUNSUP, "%s: sparse attention by an index; training it cannot be planned", path);
  if (json_object_get(j, "kv_lora_rank")) ISO_TRY(read_latent(j, path, s, err));
  ISO_TRY(iso_json_opt_bool(j, "tie_word_embeddings", path, &s->tied, err));
  ISO_TRY(iso_json_opt_i64(j, "num_local_experts", path, 0, big, &s->experts, err));
  ISO_TRY(iso_json_opt_i64(j, "num_experts", path, 0, big, &s->experts, err));
  ISO_TRY(iso_json_opt_i64(j, "n_routed_experts", path, 0, big, &s->experts, err));
  if (s->experts) ISO_TRY(read_experts(j, path, s, err));
  const char *mlp = s->experts && json_object_get(j, "moe_intermediate_size") ? "moe_intermediate_size" : k->mlp ? k->mlp : "intermediate_size";
  return k->plain ? iso_json_opt_i64(j, mlp, path, 1, big, &s->mlp, err) : iso_json_get_i64(j, mlp, path, 1, big, &s->mlp, err);
}

// GPT-2's names.
static iso_status read_gpt2(const json_t *j, const char *path, iso_layout_shape *s, iso_err *err) {
  const int64_t big = INT64_C(1) << 24;
  ISO_TRY(iso_json_get_i64(j, "n_layer", path, 1, big, &s->layers, err));
  ISO_TRY(iso_json_get_i64(j, "n_embd", path, 1, big, &s->width, err));
  ISO_TRY(iso_json_get_i64(j, "n_head", path, 1, big, &s->heads, err));
  ISO_TRY(iso_json_get_i64(j, "vocab_size", path, 1, big, &s->vocab, err));
  s->mlp = 4 * s->width;
  ISO_TRY(iso_json_opt_i64(j, "n_inner", path, 1, big, &s->mlp, err));
  s->kv_heads = s->heads;
  s->head_dim = s->width / s->heads;
  s->tied = s->bias = s->learned_pos = true;
  return ISO_OK;
}

static iso_layout_shape from_config(const iso_model_config *c) {
  bool gpt = strcmp(c->arch, "gpt2") == 0;
  return (iso_layout_shape){.layers = c->layers,
                            .width = c->width,
                            .heads = c->heads,
                            .kv_heads = c->kv_heads,
                            .head_dim = c->head_dim,
                            .mlp = c->mlp,
                            .vocab = c->vocab,
                            .gated = !gpt,
                            .tied = c->tied,
                            .bias = gpt,
                            .learned_pos = gpt};
}

// A config.json itself, or that of a folder.
static const char *config_of(const char *path, char *file, size_t n) {
  struct stat st;
  bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
  (void)snprintf(file, n, "%.4100s%s", path, folder ? "/config.json" : "");
  return file;
}

static iso_status from_file(const char *path, int64_t seq, iso_layout_shape *out, iso_err *err) {
  char file[4200];
  json_t *j = NULL;
  ISO_TRY(iso_json_load(config_of(path, file, sizeof file), &j, err));
  *out = (iso_layout_shape){0};
  iso_status s = json_object_get(j, "n_embd") ? read_gpt2(j, file, out, err) : read_hf(j, file, out, err);
  json_decref(j);
  out->seq = seq;
  (void)snprintf(out->name, sizeof out->name, "%.39s", path);
  return s == ISO_OK ? iso_layout_shape_check(out, err) : s;
}

// "gpt:SHAPE" is GPT's block with learned positions and a tied head, "llama:SHAPE" LLaMA's with a head of its own; a bare shape is that of
// isoflop's own models, LLaMA's with a tied head.
static const char *after_kind(const char *text, bool *gpt, bool *llama) {
  *gpt = strncasecmp(text, "gpt:", 4) == 0;
  *llama = strncasecmp(text, "llama:", 6) == 0;
  return text + (*gpt ? 4 : *llama ? 6 : 0);
}

static int commas_of(const char *text) {
  int n = 0;
  for (const char *s = text; *s; s++) n += *s == ',';
  return n;
}

static iso_status from_text(const char *text, int64_t seq, iso_layout_shape *out, iso_err *err) {
  iso_model_config c;
  char full[200];
  bool gpt, llama;
  const char *shape = after_kind(text, &gpt, &llama);
  if (shape != text && !strchr(shape, '/')) {
    iso_fail(err, ISO_EINVAL, "\"%.60s\": not a model shape", text);
    return iso_hint(err, ISO_EINVAL, "write [gpt:|llama:]layers,width,heads/kv_heads,mlp,vocab[,seq] as in gpt:32,4096,32/32,16384,51200");
  }
  (void)snprintf(full, sizeof full, "%.150s%s", shape, commas_of(shape) == 4 ? ",2048" : "");
  ISO_TRY(iso_config_parse(full, &c, err));
  if (gpt) strcpy(c.arch, "gpt2");
  if (llama) c.tied = false;
  *out = from_config(&c);
  out->seq = seq;
  (void)snprintf(out->name, sizeof out->name, "%.39s", text);
  return iso_layout_shape_check(out, err);
}

int64_t cli_model_seq(const char *text) {
  iso_model_config c;
  bool gpt, llama;
  const char *shape = text ? after_kind(text, &gpt, &llama) : "";
  return commas_of(shape) == 5 && iso_config_parse(shape, &c, NULL) == ISO_OK ? c.ctx : 0;
}

int64_t cli_seq(const cli_args *a) {
  int64_t own = cli_given(a, "seq") ? 0 : cli_model_seq(cli_text(a, "model"));
  return own ? own : cli_int(a, "seq");
}

// Neither table has it.
static iso_status unknown_model(const char *text, const char *option, iso_err *err) {
  const char *best = NULL;
  for (int i = 0; iso_layout_model_name(i, NULL); i++)
    if (!best || iso_str_distance(iso_layout_model_name(i, NULL), text) < iso_str_distance(best, text)) best = iso_layout_model_name(i, NULL);
  for (int i = 0; iso_serve_shape_at(i); i++)
    if (iso_str_distance(iso_serve_shape_at(i)->name, text) < iso_str_distance(best, text)) best = iso_serve_shape_at(i)->name;
  if (iso_str_near(best, text))
    iso_fail(err, ISO_EINVAL, "%sno model \"%.60s\"; did you mean \"%s\"?", option, text, best);
  else
    iso_fail(err, ISO_EINVAL, "%sno model \"%.60s\"", option, text);
  return iso_hint(err, ISO_EINVAL, "or give layers,width,heads/kv_heads,mlp,vocab[,seq] as in llama:32,4096,32/8,14336,128256, or a config.json");
}

static bool is_path(const char *s) {
  size_t n = strlen(s);
  struct stat st;
  return (n > 5 && strcmp(s + n - 5, ".json") == 0) || (strchr(s, '/') && stat(s, &st) == 0);
}

static bool layout_by_name(const char *text, int64_t seq, iso_layout_shape *out) {
  for (int i = 0; iso_layout_model_name(i, NULL); i++)
    if (strcasecmp(text, iso_layout_model_name(i, NULL)) == 0)
      return iso_layout_shape_named(iso_layout_model_name(i, NULL), seq, out, NULL) == ISO_OK;
  return false;
}

static iso_status model_layout(const char *text, const char *option, int64_t seq, iso_layout_shape *out, iso_err *err) {
  if (layout_by_name(text, seq, out)) return iso_layout_shape_check(out, err);
  if (is_path(text)) return from_file(text, seq, out, err);
  if (strchr(text, ',')) return from_text(text, seq, out, err);
  const iso_serve_shape *s = iso_serve_shape_find(text);
  if (!s) return unknown_model(text, option, err);
  if (!plain(s))
    return iso_fail(err, ISO_EUNSUP, "%s%s: training it cannot be planned: its attention or mix of layers is of another kind", option, s->name);
  *out = layout_of(s, seq);
  return iso_layout_shape_check(out, err);
}

iso_status cli_model_layout(const char *text, int64_t seq, iso_layout_shape *out, iso_err *err) {
  return model_layout(text, "--model: ", seq, out, err);
}

iso_status cli_model_in_file(const char *text, int64_t seq, iso_layout_shape *out, iso_err *err) { return model_layout(text, "", seq, out, err); }

// What the model was made for: its config's word, the shape's own seq, or the published one.
static iso_status put_context(const char *text, iso_serve_shape *s, iso_err *err) {
  char file[4200];
  json_t *j = NULL;
  if (is_path(text)) {
    ISO_TRY(iso_json_load(config_of(text, file, sizeof file), &j, err));
    iso_status st = iso_serve_context_config(j, file, s, err);
    json_decref(j);
    return st;
  }
  int64_t seq = cli_model_seq(text);
  if (seq > 0) {
    s->context = seq;
    (void)snprintf(s->context_source, sizeof s->context_source, "the shape given");
  } else if (!strchr(text, ',')) {
    iso_serve_context_name(text, s);
  }
  return ISO_OK;
}

iso_status cli_model_serve(const char *text, iso_serve_shape *out, iso_err *err) {
  const iso_serve_shape *s = is_path(text) || strchr(text, ',') ? NULL : iso_serve_shape_find(text);
  iso_layout_shape l;
  if (s) {
    *out = *s;
  } else {
    if (!layout_by_name(text, 2048, &l)) {
      if (is_path(text))
        ISO_TRY(from_file(text, 2048, &l, err));
      else if (strchr(text, ','))
        ISO_TRY(from_text(text, 2048, &l, err));
      else
        return unknown_model(text, "--model: ", err);
    }
    *out = cli_serve_shape_of(&l);
  }
  ISO_TRY(put_context(text, out, err));
  return iso_serve_shape_check(out, err);
}

// ---- devices --------------------------------------------------------------------------------------------------------

iso_status cli_devices(const char *text, const char *what, int64_t *n, iso_device **out, iso_err *err) {
  char *end;
  long long count = strtoll(text, &end, 10);
  const char *name = text;
  *out = NULL;
  *n = 0;
  if (end > text && *end == 'x' && end[1]) {
    if (count < 1 || count > 1 << 20) return iso_fail(err, ISO_EINVAL, "%s %.60s: %lld devices, expected 1 to %d", what, text, count, 1 << 20);
    *n = count;
    name = end + 1;
  }
  iso_status st = iso_device_open(name, out, err);
  if (st == ISO_OK) return st;
  // "1e3xh100", "1kxh100", "1024": a number that is none, or no device behind it.
  const char *x = strchr(text, 'x');
  if (name == text && (text[0] == '.' || (text[0] >= '0' && text[0] <= '9')) && (!x || x > text)) {
    iso_fail(err, st, "%s %.60s: expected a whole number of devices, x and a device", what, text);
    return iso_hint(err, st, "write it as in %s 512xa100-80; isoflop hw list has names", what);
  }
  return iso_err_prefix(err, st, "%s %.60s", what, text);
}

iso_status cli_cluster_open(const cli_args *a, const iso_prices *prices, cli_cluster *out, iso_err *err) {
  const char *text = cli_text(a, "cluster");
  double room;
  *out = (cli_cluster){0};
  if (!text) return iso_fail(err, ISO_EINVAL, "--cluster is missing: give devices to train on, as in --cluster 512xa100-80");
  ISO_TRY(cli_devices(text, "--cluster", &out->devices, &out->device, err));
  if (!out->devices) out->devices = 1;
  ISO_TRY(iso_layout_machine_from_device(out->device, &out->machine, err));
  ISO_TRY(iso_layout_cal_of_device(out->device, &out->cal, err));
  ISO_TRY(cli_quantity(a, "memory-limit", ISO_UNIT_BYTE, &room, err));
  if (room < out->machine.mem_b) out->machine.mem_b = room;
  double usd = cli_real(a, "usd-h"), pue = cli_real(a, "pue");
  if (usd < 0) return iso_fail(err, ISO_EINVAL, "--usd-h: %g, expected 0 or more", usd);
  if (pue < 1) return iso_fail(err, ISO_EINVAL, "--pue: %g, expected 1 or more", pue);
  if (!isnan(usd)) out->machine.usd_h = usd;
  // 1 is what the built-in prices of this machine say; a data centre has more (1.1: Touvron et al. 2023, arXiv:2302.13971, table 15).
  out->machine.pue = !isnan(pue) ? pue : prices->pue > 1 ? prices->pue : 1.1;
  return iso_layout_machine_check(&out->machine, err);
}

void cli_cluster_close(cli_cluster *c) {
  iso_device_close(c->device);
  c->device = NULL;
}

// ---- options --------------------------------------------------------------------------------------------------------

iso_status cli_quantity(const cli_args *a, const char *name, iso_unit u, double *out, iso_err *err) {
  const char *text = cli_text(a, name);
  *out = NAN;
  if (!text) return ISO_OK;
  iso_status st = iso_unit_parse(text, u, out, err);
  if (st != ISO_OK) return iso_err_prefix(err, st, "--%s", name);
  return *out > 0 ? ISO_OK : iso_fail(err, ISO_EINVAL, "--%s: %.40s, expected more than 0", name, text);
}

iso_status cli_batch(const cli_args *a, int64_t seq, int64_t *out, iso_err *err) {
  const char *text = cli_text(a, "batch");
  double v;
  iso_err ignored = {0};
  *out = 0;
  if (!text) return ISO_OK;
  if (iso_unit_parse(text, ISO_UNIT_COUNT, &v, &ignored) == ISO_OK) {
    if (!(v >= 1 && v < 1e9) || v != floor(v))
      return iso_fail(err, ISO_EINVAL, "--batch %.40s: expected a whole number of sequences, or tokens", text);
    *out = (int64_t)v;
    return ISO_OK;
  }
  ISO_TRY(cli_quantity(a, "batch", ISO_UNIT_TOK, &v, err));
  double want = v / (double)seq;
  if (!(want >= 0.95) || want > 1e9) return iso_fail(err, ISO_EINVAL, "--batch %.40s: %g sequences of %lld tokens", text, want, (long long)seq);
  for (int64_t step = INT64_C(1) << 30; step >= 1; step /= 2) {
    int64_t n = (int64_t)llround(want / (double)step) * step;
    if (n < 1 || (step > 1 && fabs((double)n / want - 1) > 0.05)) continue;
    *out = n;
    return ISO_OK;
  }
  return iso_fail(err, ISO_EINVAL, "--batch %.40s: no whole number of sequences of %lld tokens", text, (long long)seq);
}

int64_t cli_batch_by_law(double params, double tokens, int64_t seq, int64_t fallback, const char **rule, char *buf, size_t n) {
  iso_hyper_run run = {params, tokens, ISO_LAW_FLOP_PER_PARAM_TOK * params * tokens, NAN, NAN, NAN};
  iso_hyper_row row[ISO_HYPER_ROWS_MAX];
  int laws, rows = iso_hyper_list("batch_tokens", &run, row);
  iso_est b = iso_hyper_pick(row, rows, false, false, &laws);
  if (!laws) return fallback;
  size_t at = (size_t)snprintf(buf, n, "by ");
  const iso_law *last = NULL;
  for (int i = 0; i < rows && at < n; i++) {
    if (!(row[i].value > 0) || row[i].critical || row[i].experts || row[i].law == last) continue;
    at += (size_t)snprintf(buf + at, n - at, "%s%s", last ? ", " : "", row[i].law->base.name);
    last = row[i].law;
  }
  *rule = buf;
  // The largest batch that a published run used: 15,360 sequences of 4,096 (DeepSeek-V3, arXiv:2412.19437).
  const double most = 15360.0 * 4096;
  if (b.mean > most && at < n) (void)snprintf(buf + at, n - at, ", cut to the largest in use");
  return (int64_t)exp2(round(log2(fmax(1, fmin(b.mean, most) / (double)seq))));
}

iso_status cli_pairs(const char *text, const char *what, iso_status (*put)(void *self, const char *key, const char *value, iso_err *err), void *self,
                     iso_err *err) {
  for (const char *s = text;; s++) {
    char part[120];
    size_t n = strcspn(s, ",");
    if (n >= sizeof part) return iso_fail(err, ISO_EINVAL, "%s: an item of %zu characters", what, n);
    memcpy(part, s, n);
    part[n] = 0;
    char *eq = strchr(part, '=');
    if (!eq || eq == part || !eq[1]) return iso_fail(err, ISO_EINVAL, "%s: \"%.60s\", expected name=value,...", what, text);
    *eq = 0;
    iso_status st = put(self, part, eq + 1, err);
    if (st != ISO_OK) return iso_err_prefix(err, st, "%s", what);
    s += n;
    if (!*s) return ISO_OK;
  }
}

// ---- tables ---------------------------------------------------------------------------------------------------------

const json_t *cli_json_at(const json_t *o, const char *path) {
  for (const char *s = path; o && *s;) {
    char key[64];
    size_t n = strcspn(s, ".");
    if (n >= sizeof key) return NULL;
    memcpy(key, s, n);
    key[n] = 0;
    o = json_object_get(o, key);
    s += n + (s[n] == '.');
  }
  return o;
}

double cli_at(const json_t *o, const char *path) { return iso_json_value(cli_json_at(o, path)); }

const char *cli_text_at(const json_t *o, const char *path) {
  const char *s = json_string_value(cli_json_at(o, path));
  return s ? s : "";
}

void cli_row_warnings(const json_t *o) {
  const json_t *all = json_object_get(o, "warnings");
  for (size_t i = 0; i < json_array_size(all); i++) cli_row("warning", "%s", json_string_value(json_array_get(all, i)));
}

void cli_row_range(const char *name, const json_t *o, const char *path, iso_unit u) {
  const json_t *r = cli_json_at(o, path);
  char a[40], b[40], c[40];
  double mid = iso_json_value(r), lo = cli_at(r, "lo"), hi = cli_at(r, "hi");
  if (isnan(mid)) return;
  if (isnan(lo) || isnan(hi))
    cli_row(name, "%s", iso_unit_print(mid, u, a, sizeof a));
  else
    cli_row(name, "%s (%s to %s)", iso_unit_print(mid, u, a, sizeof a), iso_unit_print(lo, u, b, sizeof b), iso_unit_print(hi, u, c, sizeof c));
}
