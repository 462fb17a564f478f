// isoflop data: text into token shards, and what a folder of shards holds.
#include <math.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/work.h"
#include "report/text.h"
#include "text/data.h"

static const char *const EXAMPLES[] = {"isoflop data build --text book.txt --out shards --vocab 4096",
                                       "isoflop data build --text a.jsonl.gz b.txt --out shards --val 0.01", "isoflop data info shards --verify",
                                       NULL};
static const cli_opt OPTS[] = {
    {"text", CLI_LIST, "FILE", NULL,
     "text: txt, jsonl (field \"text\"), either of them gz or zst, - for standard input (default: GCIDE of Debian's dict-gcide)"},
    {"out", CLI_TEXT, "DIR", "shards", "folder for shards and tokenizer"},
    {"vocab", CLI_INT, "N", "8192", "entries of the tokenizer that is trained"},
    {"tokenizer", CLI_TEXT, "DIR", NULL, "use this tokenizer (a tokenizer.json or its folder) instead of training one"},
    {"val", CLI_REAL, "FRAC", "0.02", "share held out: the end of a single file, else documents"},
    {"max-bytes", CLI_INT, "N", NULL, "read so much text at most"},
    {"shard-tokens", CLI_INT, "N", NULL, "tokens a shard at most (default: 33554432)"},
    {"verify", CLI_FLAG, NULL, NULL, "info: read everything and compare checksums"},
    CLI_WORK_OPTS("build: limits, as in 60s,2GiB; refused when they do not pay for it"),
};

// Reading, learning merges and encoding together; texts and machines differ, so the interval is wide.
static iso_cost price(const iso_env *e, double bytes, double max) {
  if (max > 0) bytes = isnan(bytes) ? max : fmin(bytes, max);
  double mean = 0.1 + bytes / 15e6;
  iso_cost c = iso_env_seconds(e, iso_est_range(0.1 * mean, mean, 3 * mean));
  c.peak_ram = iso_est_range(10e6, 30e6 + 2 * bytes, 100e6 + 6 * bytes);
  c.disk = iso_est_range(0.3 * bytes, 0.7 * bytes, 2 * bytes + 4e6);
  return c;
}

// What shards hold; the seconds of building them are added by build.
static json_t *shards_json(const iso_data_report *r, const char *dir) {
  char hash[20];
  (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)r->tok_hash);
  return json_pack("{s:o, s:i, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "dir", iso_text_json(dir), "vocab", r->vocab, "tokenizer_hash", hash,
                   "shards", r->n_train_shards, "train_tokens", (json_int_t)r->train_tokens, "val_tokens", (json_int_t)r->val_tokens, "train_docs",
                   (json_int_t)r->train_docs, "val_docs", (json_int_t)r->val_docs, "train_bytes", (json_int_t)r->train_bytes, "val_bytes",
                   (json_int_t)r->val_bytes, "bytes_per_tok", iso_json_num(r->bytes_per_tok));
}

static void print_report(const iso_data_report *r) {
  printf("%-10s %14s %14s %12s %10s\n", "part", "tokens", "bytes", "documents", "bytes/tok");
  printf("%-10s %14lld %14lld %12lld %10.3f\n", "training", (long long)r->train_tokens, (long long)r->train_bytes, (long long)r->train_docs,
         (double)r->train_bytes / (double)r->train_tokens);
  printf("%-10s %14lld %14lld %12lld %10.3f\n", "held out", (long long)r->val_tokens, (long long)r->val_bytes, (long long)r->val_docs,
         (double)r->val_bytes / (double)r->val_tokens);
  cli_row("vocabulary", "%d entries", r->vocab);
  cli_row("shards", "%d", r->n_train_shards);
}

static iso_status build_metered(iso_env *e, const iso_data_opts *o, const iso_cost *cost, iso_cost *measured, iso_data_report *r, iso_err *err) {
  iso_phase p;
  ISO_TRY(iso_phase_start(e, "data", cost, &p, err));
  iso_status st = cli_input(iso_data_build(e->ctx, o, r, err), err);
  int width = r->vocab > 65536 ? 4 : 2;
  iso_meter_count(&p.meter, ISO_RES_disk, (double)(r->train_tokens + r->val_tokens) * width);
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  *measured = p.measured;
  return st == ISO_OK ? end : st;
}

static int build(cli_args *a) {
  iso_err err = {0};
  iso_env *e = NULL;
  json_t *result = NULL;
  iso_data_report r = {0};
  iso_cost cost, measured;
  int code = EXIT_DONE;
  int64_t max = cli_int(a, "max-bytes"), vocab = cli_int(a, "vocab"), shard = cli_int(a, "shard-tokens");
  iso_data_opts o = {.out_dir = cli_text(a, "out"), .tokenizer = cli_text(a, "tokenizer"), .vocab = (int)vocab, .val_frac = cli_real(a, "val")};
  o.paths = cli_list(a, "text", &o.n_paths);
  if (a->n_pos > 1) return cli_usage(a, "unexpected argument \"%.60s\": text files follow --text", a->pos[1]);
  if (cli_given(a, "verify")) return cli_usage(a, "--verify belongs to data info");
  if (cli_given(a, "vocab") && o.tokenizer) return cli_usage(a, "--vocab and --tokenizer exclude each other");
  if (vocab < 256 + ISO_TOK_SPECIALS || vocab > ISO_TOK_VOCAB_MAX)
    return cli_usage(a, "--vocab must be between %d and %d: 256 bytes and %d special tokens are always there", 256 + ISO_TOK_SPECIALS,
                     ISO_TOK_VOCAB_MAX, ISO_TOK_SPECIALS);
  if (!(o.val_frac > 0 && o.val_frac < 1)) return cli_usage(a, "--val must lie between 0 and 1");
  if (cli_given(a, "max-bytes") && max < 1) return cli_usage(a, "--max-bytes must be at least 1");
  if (cli_given(a, "shard-tokens") && shard < 1) return cli_usage(a, "--shard-tokens must be at least 1");
  if (max > 0) o.source.max_bytes = (size_t)max;
  if (shard > 0) o.shard_tokens = shard;
  iso_status st = cli_work_open(a, "data", 0, &e, &err);
  if (st == ISO_OK) {
    cost = price(e, o.n_paths ? cli_text_bytes(o.paths, o.n_paths) : 40e6, (double)max);
    bool dry = cli_flag(a, "dry-run");
    st = dry ? cli_work_fits(e, "data", &cost, &err) : build_metered(e, &o, &cost, &measured, &r, &err);
    if (st == ISO_OK) {
      result = dry ? json_object() : shards_json(&r, o.out_dir);
      if (!dry)
        json_object_update_new(result, json_pack("{s:f, s:f, s:f}", "read_s", r.read_s, "tokenizer_s", r.tok_train_s, "encode_s", r.encode_s));
      cli_work_json(result, &cost, dry ? NULL : &measured);
      if (a->json)
        code = cli_put_json(json_incref(result));
      else {
        if (!dry) print_report(&r);
        cli_work_print(&cost, dry ? NULL : &measured);
      }
    }
  }
  return cli_work_close(a, e, st, &err, result, code);
}

static int info(cli_args *a) {
  iso_err err = {0};
  iso_shards *s = NULL;
  if (a->n_pos != 2) return cli_usage(a, "data info takes one folder");
  iso_status st = iso_shards_open(a->pos[1], &s, &err);
  bool verify = cli_flag(a, "verify");
  if (st == ISO_OK && verify) st = iso_shards_verify(s, &err);
  int code = EXIT_DONE;
  if (st != ISO_OK)
    code = cli_fail(a, st, &err);
  else {
    iso_data_report r = {.train_tokens = s->train_tokens,
                         .val_tokens = s->val_tokens,
                         .train_docs = s->train_docs,
                         .val_docs = s->val_docs,
                         .train_bytes = s->train_bytes,
                         .val_bytes = s->val_bytes,
                         .bytes_per_tok = (double)s->train_bytes / (double)s->train_tokens,
                         .vocab = s->vocab,
                         .n_train_shards = s->n_train,
                         .tok_hash = s->tok_hash};
    if (a->json) {
      json_t *j = shards_json(&r, a->pos[1]);
      json_object_set_new(j, "verified", json_boolean(verify));
      code = cli_put_json(j);
    } else {
      print_report(&r);
      cli_row("tokenizer hash", "%016llx", (unsigned long long)r.tok_hash);
      cli_row("checksums", "%s", verify ? "all agree" : "headers only (--verify reads everything)");
    }
  }
  iso_shards_close(s);
  return code;
}

static int run(cli_args *a) {
  static const char *const ACTIONS[] = {"build", "info"};
  int k = cli_action(a, ACTIONS, 2);
  return k < 0 ? EXIT_USAGE : k == 0 ? build(a) : info(a);
}

const cli_verb cli_verb_data = {.name = "data",
                                .summary = "Turn text into memory-mapped token shards with a held-out part, or look at them.",
                                .examples = EXAMPLES,
                                .usage = "build --text FILE... --out DIR [options] | info DIR [--verify]",
                                .opts = OPTS,
                                .n_opts = ISO_COUNT(OPTS),
                                .min_args = 1,
                                .max_args = 2,
                                .run = run};
