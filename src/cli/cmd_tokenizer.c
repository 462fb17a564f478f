// isoflop tokenizer: train a byte-level BPE, encode and decode with it.
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/work.h"
#include "report/text.h"
#include "text/source.h"
#include "text/tok.h"

static const char *const EXAMPLES[] = {"isoflop tokenizer train book.txt --vocab 4096 --out tok", "isoflop tokenizer encode tok book.txt >ids.txt",
                                       "isoflop tokenizer decode tok ids.txt", NULL};
static const cli_opt OPTS[] = {
    {"vocab", CLI_INT, "N", "8192", "train: entries, special tokens included"},
    {"out", CLI_TEXT, "DIR", "tokenizer", "train: folder for tokenizer.json and tokenizer_config.json"},
    {"specials", CLI_INT, "N", "33", "train: 33 special tokens (end of text and 32 reserved), or 0"},
    {"max-bytes", CLI_INT, "N", NULL, "train: learn from about so many bytes, taken evenly (default: all)"},
    {"parse-specials", CLI_FLAG, NULL, NULL, "encode: names of special tokens in the text become their ids (else they are text like any other)"},
    CLI_WORK_OPTS("train: limits, as in 60s,2GiB; refused when they do not pay for it"),
};

static iso_cost price(const iso_env *e, double bytes, double vocab) {
  double mean = 0.1 + bytes / 25e6;
  iso_cost c = iso_env_seconds(e, iso_est_range(0.1 * mean, mean, 3 * mean));
  c.peak_ram = iso_est_range(5e6, 30e6 + bytes, 100e6 + 5 * bytes);
  c.disk = iso_est_range(20 * vocab, 45 * vocab, 200 * vocab + 1e4);  // an entry and its merge in JSON
  return c;
}

static iso_status learn(iso_ctx *c, const char *const *paths, int n, const iso_tok_train_opts *o, const char *dir, iso_tok **out, double *bytes,
                        iso_err *err) {
  iso_docs *d = NULL;
  iso_source_opts so = {0};
  *out = NULL;
  iso_status st = cli_input(iso_docs_open(c, paths, n, &so, &d, err), err);
  if (st != ISO_OK) return st;
  *bytes = (double)d->bytes;
  iso_note(c, ISO_EVENT_PHASE, "tokenizer", "learning %d entries from %.2f MB", o->vocab, *bytes / 1e6);
  ISO_TRYG(iso_tok_train(c, o, d->doc, d->n, out, err));
  ISO_TRYG(iso_mkdirs(dir, err));
  st = iso_tok_save_hf(c, *out, dir, err);
done:
  iso_docs_close(d);
  return st;
}

static iso_status learn_metered(iso_env *e, const cli_args *a, const iso_tok_train_opts *o, const iso_cost *cost, iso_cost *measured, iso_tok **t,
                                double *bytes, iso_err *err) {
  iso_phase p;
  ISO_TRY(iso_phase_start(e, "tokenizer", cost, &p, err));
  iso_status st = learn(e->ctx, a->pos + 1, a->n_pos - 1, o, cli_text(a, "out"), t, bytes, err);
  char path[4200];
  struct stat s;
  (void)snprintf(path, sizeof path, "%.4100s/tokenizer.json", cli_text(a, "out"));
  if (st == ISO_OK && stat(path, &s) == 0) iso_meter_count(&p.meter, ISO_RES_disk, (double)s.st_size);
  iso_status end = iso_phase_end(&p, st == ISO_OK ? err : NULL);
  *measured = p.measured;
  return st == ISO_OK ? end : st;
}

static int train(cli_args *a) {
  iso_err err = {0};
  iso_env *e = NULL;
  iso_tok *t = NULL;
  json_t *result = NULL;
  iso_cost cost, measured;
  double bytes = NAN;
  int code = EXIT_DONE;
  int64_t vocab = cli_int(a, "vocab"), specials = cli_int(a, "specials"), max = cli_int(a, "max-bytes");
  if (a->n_pos < 2) return cli_usage(a, "tokenizer train needs text files");
  if (specials != 0 && specials != ISO_TOK_SPECIALS) return cli_usage(a, "--specials must be %d or 0", ISO_TOK_SPECIALS);
  if (vocab < 256 + specials || vocab > ISO_TOK_VOCAB_MAX)
    return cli_usage(a, "--vocab must be between %lld and %d: 256 bytes and %lld special tokens are always there", (long long)(256 + specials),
                     ISO_TOK_VOCAB_MAX, (long long)specials);
  if (cli_given(a, "max-bytes") && max < 1) return cli_usage(a, "--max-bytes must be at least 1");
  iso_tok_train_opts o = {.vocab = (int)vocab, .specials = (int)specials, .max_bytes = max > 0 ? (size_t)max : 0};
  bool dry = cli_flag(a, "dry-run");
  iso_status st = cli_work_open(a, "tokenizer", 0, &e, &err);
  if (st == ISO_OK) {
    cost = price(e, cli_text_bytes(a->pos + 1, a->n_pos - 1), (double)vocab);
    st = dry ? cli_work_fits(e, "tokenizer", &cost, &err) : learn_metered(e, a, &o, &cost, &measured, &t, &bytes, &err);
  }
  if (st == ISO_OK) {
    char hash[20] = "";
    if (t) (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)iso_tok_hash(t));
    result = !t ? json_object()
                : json_pack("{s:o, s:i, s:I, s:i, s:s, s:f}", "dir", iso_text_json(cli_text(a, "out")), "vocab", iso_tok_vocab(t), "merges",
                            (json_int_t)iso_tok_merges(t), "eot", iso_tok_eot(t), "hash", hash, "bytes", bytes);
    cli_work_json(result, &cost, t ? &measured : NULL);
    if (a->json)
      code = cli_put_json(json_incref(result));
    else {
      if (t) cli_row("vocabulary", "%d entries, %lld merges", iso_tok_vocab(t), (long long)iso_tok_merges(t));
      if (t) cli_row("written to", "%s", cli_text(a, "out"));
      cli_work_print(&cost, t ? &measured : NULL);
    }
  }
  iso_tok_close(t);
  return cli_work_close(a, e, st, &err, result, code);
}

// ---- encode and decode ----------------------------------------------------------------------------------------------

// A mapped file, or all of standard input.
typedef struct input {
  iso_map map;    // owned
  iso_str bytes;  // owned
  const char *p;
  size_t n;
} input;

static iso_status input_open(const char *path, input *in, iso_err *err) {
  *in = (input){.p = ""};
  if (path && strcmp(path, "-") != 0) {
    ISO_TRY(cli_input(iso_map_open(path, &in->map, err), err));
    if (in->map.size) in->p = (const char *)in->map.data, in->n = in->map.size;
    return ISO_OK;
  }
  char buf[65536];
  ssize_t k;
  while ((k = read(STDIN_FILENO, buf, sizeof buf)) > 0) iso_str_put(&in->bytes, buf, (size_t)k);
  if (k < 0) return iso_fail(err, ISO_EIO, "standard input cannot be read");
  if (in->bytes.failed) return iso_fail(err, ISO_ENOMEM, "no memory for standard input");
  if (in->bytes.n) in->p = in->bytes.p, in->n = in->bytes.n;
  return ISO_OK;
}

static void input_close(input *in) {
  iso_map_close(&in->map);
  iso_str_free(&in->bytes);
}

static iso_status flush_out(iso_err *err) {
  if (fflush(stdout) == 0 && !ferror(stdout)) return ISO_OK;
  return iso_fail(err, errno == ENOSPC ? ISO_EFULL : ISO_EBUG, "standard output cannot be written: %s", strerror(errno));
}

static iso_status encode(cli_args *a, const iso_tok *t, const input *in, iso_err *err) {
  iso_ids ids = {0};
  iso_bytes doc = {(const uint8_t *)in->p, in->n};
  int64_t end = 0;
  iso_status st =
      cli_flag(a, "parse-specials") ? iso_tok_encode(t, in->p, in->n, true, &ids, err) : iso_tok_encode_many(a->ctx, t, &doc, 1, &ids, &end, err);
  if (st == ISO_OK) {
    if (a->json) putchar('[');
    for (int64_t i = 0; i < ids.n; i++) printf(i ? a->json ? ",%d" : " %d" : "%d", (int)ids.p[i]);
    puts(a->json ? "]" : "");
    st = flush_out(err);
  }
  iso_ids_free(&ids);
  return st;
}

// Ids between blanks, commas and brackets, so that both forms that encode prints are read.
static iso_status parse_ids(const input *in, int vocab, iso_ids *ids, iso_err *err) {
  int64_t line = 1;
  for (size_t i = 0; i < in->n;) {
    unsigned char c = (unsigned char)in->p[i];
    if (isspace(c) || c == ',' || c == '[' || c == ']') {
      line += c == '\n';
      i++;
      continue;
    }
    int64_t v = 0;
    size_t from = i;
    for (; i < in->n && isdigit((unsigned char)in->p[i]) && i - from < 10; i++) v = v * 10 + (in->p[i] - '0');
    if (i - from == 10 && i < in->n && isdigit((unsigned char)in->p[i]))
      return iso_fail(err, ISO_EFORMAT, "line %lld: a token id of more than 10 digits", (long long)line);
    if (i == from || (i < in->n && isalnum((unsigned char)in->p[i])))
      return iso_fail(err, ISO_EFORMAT, "line %lld: byte 0x%02x is not part of a token id", (long long)line, c);
    if (v >= vocab) return iso_fail(err, ISO_EFORMAT, "line %lld: token %lld, the vocabulary has %d", (long long)line, (long long)v, vocab);
    ISO_TRY(iso_ids_put(ids, &(int32_t){(int32_t)v}, 1, err));
  }
  return ISO_OK;
}

static iso_status decode(cli_args *a, const iso_tok *t, const input *in, iso_err *err) {
  iso_ids ids = {0};
  iso_str text = {0};
  iso_status st = parse_ids(in, iso_tok_vocab(t), &ids, err);
  if (st == ISO_OK) st = iso_tok_decode(t, ids.p, ids.n, &text, err);
  if (st == ISO_OK && a->json)
    cli_put_json(json_pack("{s:o, s:I, s:I}", "text", iso_text_json_n(text.p ? text.p : "", text.n), "tokens", (json_int_t)ids.n, "bytes",
                           (json_int_t)text.n));
  else if (st == ISO_OK && text.n)
    (void)fwrite(text.p, 1, text.n, stdout);
  if (st == ISO_OK) st = flush_out(err);
  iso_str_free(&text);
  iso_ids_free(&ids);
  return st;
}

static int convert(cli_args *a, bool encoding) {
  iso_err err = {0};
  iso_tok *t = NULL;
  input in = {0};
  if (a->n_pos < 2 || a->n_pos > 3) return cli_usage(a, "tokenizer %s takes a model folder and at most one file", a->pos[0]);
  iso_status st = cli_tok_load(a->pos[1], &t, &err);
  if (st == ISO_OK) st = input_open(a->n_pos > 2 ? a->pos[2] : NULL, &in, &err);
  if (st == ISO_OK) st = encoding ? encode(a, t, &in, &err) : decode(a, t, &in, &err);
  input_close(&in);
  iso_tok_close(t);
  return st == ISO_OK ? EXIT_DONE : cli_fail(a, st, &err);
}

static int run(cli_args *a) {
  static const char *const ACTIONS[] = {"train", "encode", "decode"};
  int k = cli_action(a, ACTIONS, 3);
  return k < 0 ? EXIT_USAGE : k == 0 ? train(a) : convert(a, k == 1);
}

const cli_verb cli_verb_tokenizer = {
    .name = "tokenizer",
    .summary = "Train a byte-level BPE tokenizer, encode text to ids and decode ids to text.",
    .examples = EXAMPLES,
    .usage = "train FILE... [--vocab N] [--out DIR] | encode DIR [FILE] | decode DIR [FILE]",
    .opts = OPTS,
    .n_opts = ISO_COUNT(OPTS),
    .min_args = 1,
    .max_args = 100000,
    .notes =
        "DIR is a model folder or any folder with a tokenizer.json. Without FILE (or with -) encode and decode read standard input.\n"
        "encode prints ids between blanks (--json: an array), decode takes both and prints the bytes: any file survives the round trip.",
    .run = run};
