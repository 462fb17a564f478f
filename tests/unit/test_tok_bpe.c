// The tokenizer against Hugging Face's (golden file), PCRE2, and plain quadratic trainers and encoders.
// clang-format off
#define PCRE2_CODE_UNIT_WIDTH 8
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>  // needs the ones above
#include <pcre2.h>
#include <zlib.h>
// clang-format on

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "text/pretok.h"
#include "text/tok.h"

static const char expression[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static void ok_at(iso_status st, const iso_err *e, int line) {
  if (st != ISO_OK) fail_msg("line %d: %s (%s)", line, e->msg, iso_status_name(st));
}
#define OK(call) ok_at((call), &err, __LINE__)
static iso_err err;

static uint64_t draws;
static int64_t rnd(int64_t n) { return iso_rng_below(1, ISO_RNG_TEST, 0, draws++, n); }

static iso_ctx *open_ctx(int threads) {
  iso_ctx *c;
  OK(iso_ctx_open(threads, &c, &err));
  return c;
}

// Pieces of text that meet all rules: contractions, runs, scripts, spaces of every kind; with `bytes` also broken UTF-8.
static void random_text(iso_str *s, int parts, bool bytes) {
  static const char *const part[] = {
      "a",   "A",        "the",    "The",    "don't",  "'s",     "'t",     "'re",    "'ve",        "'m",     "'ll",  "'d",      "'l",   "'",  "''",
      "1",   "12",       "٣",      "²",      "Ⅷ",      "½",      "é",      "ж",      "語",         "한",     "ä",    "e\u0301", "🙂", "€",  "-",
      "--",  "==",       ".",      "_",      "(",      " ",      " ",      " ",      "  ",         "\t",     "\n",   "\n\n",    "\r\n", "\v", "\f",
      " \n", "\xc2\x85", "\u00a0", "\u2003", "\u2028", "\u3000", "\u200b", "\ufeff", "\U0010ffff", "\ue000", "\x1c", "\x7f"};
  for (int i = 0; i < parts; i++) {
    if (bytes && rnd(4) == 0) {
      for (int64_t k = 1 + rnd(4); k > 0; k--) {
        char b = (char)rnd(256);
        iso_str_put(s, &b, 1);
      }
      continue;
    }
    const char *p = part[rnd((int64_t)ISO_COUNT(part))];
    for (int64_t k = rnd(8) ? 1 : 1 + rnd(6); k > 0; k--) iso_str_add(s, p);
  }
}

static json_t *golden(void) {
  json_t *j;
  OK(iso_json_load("tests/reference/hf_bpe.json", &j, &err));
  return j;
}

// Code point to byte in GPT-2's alphabet, from the golden file's own list (index: byte, value: id) and its vocabulary (id: character).
static void chars_to_bytes(const json_t *j, const char *s, iso_str *out) {
  const json_t *base = json_object_get(j, "base_id_of_byte"), *vocab = json_object_get(j, "vocab");
  while (*s) {
    uint32_t cp;
    size_t n = iso_utf8_next((const uint8_t *)s, strlen(s), &cp);
    int hit = -1;
    for (int b = 0; b < 256 && hit < 0; b++) {
      const char *v = json_string_value(json_array_get(vocab, (size_t)json_integer_value(json_array_get(base, (size_t)b))));
      if (strlen(v) == n && memcmp(v, s, n) == 0) hit = b;
    }
    assert_true(hit >= 0);
    char b = (char)hit;
    iso_str_put(out, &b, 1);
    s += n;
  }
}

static iso_tok *train_text(iso_ctx *c, iso_bytes text, int vocab, int specials, bool by_line) {
  iso_tok *t;
  iso_tok_train_opts o = {.vocab = vocab, .specials = specials, .by_line = by_line};
  OK(iso_tok_train(c, &o, &text, 1, &t, &err));
  return t;
}

static void check_merges(const json_t *j, const char *key, const iso_tok *t) {
  const json_t *list = json_object_get(j, key);
  assert_int_equal(iso_tok_merges(t), json_array_size(list));
  for (int64_t k = 0; k < iso_tok_merges(t); k++) {
    int32_t id[3];
    iso_tok_merge(t, k, &id[0], &id[1], &id[2]);
    assert_int_equal(id[2], 256 + k);
    for (int s = 0; s < 2; s++) {
      iso_str want = {0};
      chars_to_bytes(j, json_string_value(json_array_get(json_array_get(list, (size_t)k), (size_t)s)), &want);
      const uint8_t *p;
      size_t n;
      assert_true(iso_tok_piece(t, id[s], &p, &n));
      assert_int_equal(n, want.n);
      assert_memory_equal(p, want.p, n);
      iso_str_free(&want);
    }
  }
}

static void equals_hugging_face(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(2);
  json_t *j = golden();
  iso_map m;
  OK(iso_map_open("tests/reference/bpe_text.txt", &m, &err));
  int vocab = (int)json_integer_value(json_object_get(j, "vocab_size"));
  iso_tok *line = train_text(c, (iso_bytes){m.data, m.size}, vocab, 0, true), *t = train_text(c, (iso_bytes){m.data, m.size}, vocab, 0, false);
  check_merges(j, "file_merges", line);
  check_merges(j, "merges", t);
  for (int b = 0; b < 256; b++) {
    const uint8_t *p;
    size_t n;
    assert_true(iso_tok_piece(t, (int)json_integer_value(json_array_get(json_object_get(j, "base_id_of_byte"), (size_t)b)), &p, &n));
    assert_int_equal(n, 1);
    assert_int_equal(p[0], b);
  }
  size_t i;
  json_t *row;
  json_array_foreach(json_object_get(j, "samples"), i, row) {
    const json_t *text = json_object_get(row, "text"), *want = json_object_get(row, "ids");
    iso_ids ids = {0};
    OK(iso_tok_encode(t, json_string_value(text), json_string_length(text), false, &ids, &err));
    assert_int_equal(ids.n, json_array_size(want));
    for (int64_t k = 0; k < ids.n; k++) assert_int_equal(ids.p[k], json_integer_value(json_array_get(want, (size_t)k)));
    iso_ids_free(&ids);
  }
  iso_ids ids = {0};
  OK(iso_tok_encode(t, m.data, m.size, false, &ids, &err));
  assert_int_equal(ids.n, json_integer_value(json_object_get(j, "text_tokens")));
  char crc[16];
  snprintf(crc, sizeof crc, "%08lx", crc32(0, (const Bytef *)ids.p, (uInt)(ids.n * 4)));  // little-endian machine
  assert_string_equal(crc, json_string_value(json_object_get(j, "text_ids_crc32")));
  iso_ids_free(&ids);
  iso_tok_close(line);
  iso_tok_close(t);
  iso_map_close(&m);
  json_decref(j);
  iso_ctx_close(c);
}

static pcre2_code *compile(const char *re) {
  int e;
  PCRE2_SIZE at;
  pcre2_code *c = pcre2_compile((PCRE2_SPTR)re, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP, &e, &at, NULL);
  assert_non_null(c);
  return c;
}
static bool matches(const pcre2_code *re, pcre2_match_data *md, const uint8_t *p, size_t n) {
  return pcre2_match(re, p, n, 0, PCRE2_ANCHORED, md, NULL) >= 0;
}

static void pieces_equal_pcre2(void **state) {
  (void)state;
  pcre2_code *re = compile(expression);
  pcre2_match_data *md = pcre2_match_data_create(4, NULL);
  for (int round = 0; round < 400; round++) {
    iso_str s = {0};
    random_text(&s, 1 + (int)rnd(60), false);
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t at = 0; at < s.n;) {
      assert_true(pcre2_match(re, p, s.n, at, PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK, md, NULL) > 0);
      size_t want = pcre2_get_ovector_pointer(md)[1] - at, got = iso_pretok_next(p + at, s.n - at);
      if (want != got) fail_msg("round %d, byte %zu of %zu: a piece of %zu bytes, PCRE2 says %zu", round, at, s.n, got, want);
      at += got;
    }
    iso_str_free(&s);
  }
  pcre2_match_data_free(md);
  pcre2_code_free(re);
}

static size_t put_utf8(uint32_t cp, uint8_t *u) {
  if (cp < 0x80) return u[0] = (uint8_t)cp, 1;
  if (cp < 0x800) return u[0] = (uint8_t)(0xC0 | cp >> 6), u[1] = (uint8_t)(0x80 | (cp & 63)), 2;
  if (cp < 0x10000) return u[0] = (uint8_t)(0xE0 | cp >> 12), u[1] = (uint8_t)(0x80 | (cp >> 6 & 63)), u[2] = (uint8_t)(0x80 | (cp & 63)), 3;
  u[0] = (uint8_t)(0xF0 | cp >> 18), u[1] = (uint8_t)(0x80 | (cp >> 12 & 63)), u[2] = (uint8_t)(0x80 | (cp >> 6 & 63)),
  u[3] = (uint8_t)(0x80 | (cp & 63));
  return 4;
}

// Every code point: class and decoder. PCRE2 10.42 knows Unicode 14, so what it calls unassigned is not judged; its \s also holds U+180E,
// which lost White_Space in Unicode 6.3.
static void classes_equal_pcre2(void **state) {
  (void)state;
  pcre2_code *l = compile("\\p{L}"), *n = compile("\\p{N}"), *s = compile("\\s"), *none = compile("\\p{Cn}");
  pcre2_match_data *md = pcre2_match_data_create(4, NULL);
  int judged = 0;
  for (uint32_t cp = 0; cp < 0x110000; cp++) {
    uint8_t u[4];
    uint32_t back;
    size_t k = put_utf8(cp, u), got = iso_utf8_next(u, k, &back);
    if (cp >= 0xD800 && cp < 0xE000) {
      assert_int_equal(got, 1);
      assert_true(back == UINT32_MAX);
      continue;
    }
    assert_int_equal(got, k);
    assert_int_equal(back, cp);
    if (cp == 0x180E || matches(none, md, u, k)) continue;
    int want = matches(s, md, u, k) ? 3 : matches(l, md, u, k) ? 1 : matches(n, md, u, k) ? 2 : 0;
    if (iso_pretok_class(cp) != want) fail_msg("U+%04X has class %d, PCRE2 says %d", cp, iso_pretok_class(cp), want);
    judged++;
  }
  assert_true(judged > 280000);  // 144,697 assigned and 137,468 of private use in Unicode 14
  assert_int_equal(iso_pretok_class(0x180E), 0);
  assert_int_equal(iso_pretok_class(0xA7CB), 1);  // a letter since Unicode 16.0
  pcre2_match_data_free(md);
  pcre2_code_free(l);
  pcre2_code_free(n);
  pcre2_code_free(s);
  pcre2_code_free(none);
}

// Cuts fall on borders of pieces, and both sides give the pieces that the whole gives.
static void cuts_change_no_piece(void **state) {
  (void)state;
  for (int round = 0; round < 300; round++) {
    iso_str s = {0};
    random_text(&s, 30, round & 1);
    const uint8_t *p = (const uint8_t *)s.p;
    size_t cut = iso_pretok_cut(p, s.n, (size_t)rnd((int64_t)s.n));
    assert_true(cut > 0 && cut <= s.n);
    for (size_t at = 0; at < s.n;) {
      size_t whole = iso_pretok_next(p + at, s.n - at);
      assert_true(at >= cut || at + whole <= cut);
      if (at < cut) assert_int_equal(iso_pretok_next(p + at, cut - at), whole);
      at += whole;
    }
    iso_str_free(&s);
  }
}

// Recounts all pairs before every merge: the trainer's rules and nothing else.
typedef struct plain_word {
  int32_t id[64];
  int n;
} plain_word;
static int plain_train(const iso_bytes *docs, int n_docs, int merges, int32_t (*out)[2]) {
  enum { MAX = 512 };
  plain_word *w = calloc(40000, sizeof *w);
  int32_t *count = malloc(MAX * MAX * sizeof *count);
  int n = 0, got = 0;
  static const char keep[] = "abcd- ";
  assert_true(w && count && 256 + merges < MAX);
  iso_ctx *c = open_ctx(1);
  iso_tok *bytes = train_text(c, (iso_bytes){(const uint8_t *)keep, 6}, 256, 0, false);
  for (int d = 0; d < n_docs; d++) {
    for (size_t at = 0, k; at < docs[d].n; at += k) {
      k = iso_pretok_next(docs[d].p + at, docs[d].n - at);
      iso_ids ids = {0};
      OK(iso_tok_encode(bytes, docs[d].p + at, k, false, &ids, &err));
      assert_true(ids.n <= 64 && n < 40000);
      memcpy(w[n].id, ids.p, (size_t)ids.n * 4);
      w[n++].n = (int)ids.n;
      iso_ids_free(&ids);
    }
  }
  for (; got < merges; got++) {
    memset(count, 0, MAX * MAX * sizeof *count);
    for (int i = 0; i < n; i++)
      for (int k = 0; k + 1 < w[i].n; k++) count[w[i].id[k] * MAX + w[i].id[k + 1]]++;
    int best = -1;
    for (int p = 0; p < MAX * MAX; p++)
      if (count[p] > 0 && (best < 0 || count[p] > count[best])) best = p;
    if (best < 0) break;
    out[got][0] = best / MAX, out[got][1] = best % MAX;
    for (int i = 0; i < n; i++) {
      int m = 0;
      for (int k = 0; k < w[i].n; k++) {
        bool hit = k + 1 < w[i].n && w[i].id[k] == best / MAX && w[i].id[k + 1] == best % MAX;
        w[i].id[m++] = hit ? 256 + got : w[i].id[k];
        k += hit;
      }
      w[i].n = m;
    }
  }
  iso_tok_close(bytes);
  iso_ctx_close(c);
  free(w);
  free(count);
  return got;
}

// Texts of few letters hold runs ("aaaa") and ties everywhere.
static void training_equals_recounting(void **state) {
  (void)state;
  enum { MERGES = 60 };
  int compared = 0;
  iso_ctx *c = open_ctx(3);
  for (int round = 0; round < 12; round++) {
    iso_str s[3] = {0};
    iso_bytes docs[3];
    for (int d = 0; d < 3; d++) {
      for (int i = 0; i < 300; i++) {
        static const char letters[] = "aaabcd-- ";
        char b = rnd(9) == 0 ? ' ' : letters[rnd(4 + round % 6)];
        iso_str_put(&s[d], &b, 1);
        if (s[d].n % 40 == 39) iso_str_put(&s[d], " ", 1);
      }
      docs[d] = (iso_bytes){(const uint8_t *)s[d].p, s[d].n};
    }
    int32_t want[MERGES][2];
    int n = plain_train(docs, 3, MERGES, want);
    iso_tok *t;
    iso_tok_train_opts o = {.vocab = 256 + n};
    OK(iso_tok_train(c, &o, docs, 3, &t, &err));
    for (int k = 0; k < n && k < iso_tok_merges(t); k++) {
      int32_t a, b, p, x, y;
      iso_tok_merge(t, k, &a, &b, &p);
      x = want[k][0], y = want[k][1];
      // A product that is an entry already would shift ids; these texts have none as long as ids agree.
      if (p != 256 + k) break;
      if (a != x || b != y) fail_msg("round %d, merge %d: (%d, %d), recounting says (%d, %d)", round, k, a, b, x, y);
      compared++;
    }
    iso_tok_close(t);
    for (int d = 0; d < 3; d++) iso_str_free(&s[d]);
  }
  assert_true(compared > 12 * MERGES * 3 / 4);
  iso_ctx_close(c);
}

// The rule of encoding, quadratic: the pair of lowest rank, the leftmost first, until none is left.
static void plain_encode(const iso_tok *t, const uint8_t *p, size_t n, iso_ids *out) {
  int32_t *id = malloc((n + 1) * sizeof *id);
  int32_t byte_id[256];
  int64_t m = (int64_t)n;
  assert_non_null(id);
  for (int i = 0; i < 256; i++) {
    const uint8_t *b;
    size_t k;
    assert_true(iso_tok_piece(t, i, &b, &k) && k == 1);
    byte_id[b[0]] = i;
  }
  for (size_t i = 0; i < n; i++) id[i] = byte_id[p[i]];
  for (int64_t k = 0; k < iso_tok_merges(t); k++) {  // by rank: a later merge never makes an earlier one possible again
    int32_t a, b, c;
    iso_tok_merge(t, k, &a, &b, &c);
    int64_t w = 0;
    for (int64_t i = 0; i < m; i++) {
      bool hit = i + 1 < m && id[i] == a && id[i + 1] == b;
      id[w++] = hit ? c : id[i];
      i += hit;
    }
    m = w;
  }
  OK(iso_ids_put(out, id, m, &err));
  free(id);
}

static void encoding_equals_the_rule(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  iso_map m;
  OK(iso_map_open("tests/reference/bpe_text.txt", &m, &err));
  iso_tok *t = train_text(c, (iso_bytes){m.data, m.size}, 1200, ISO_TOK_SPECIALS, false);
  iso_tok_enc *e;
  OK(iso_tok_enc_open(t, &e, &err));
  for (int round = 0; round < 300; round++) {
    // Lengths on both sides of every border in the encoder: 15 bytes (first table), 96 (scan), 255 (second table).
    static const int lens[] = {1, 2, 7, 8, 9, 14, 15, 16, 17, 40, 95, 96, 97, 200, 254, 255, 256, 1000};
    size_t n = (size_t)lens[round % (int)ISO_COUNT(lens)];
    iso_str s = {0};
    while (s.n < n) {
      char b = "eatthoinsr"[rnd(10)];
      iso_str_put(&s, &b, 1);
    }
    iso_ids got = {0}, again = {0}, want = {0};
    plain_encode(t, (const uint8_t *)s.p, s.n, &want);
    OK(iso_tok_enc_run(e, s.p, s.n, false, &got, &err));
    OK(iso_tok_enc_run(e, s.p, s.n, false, &again, &err));
    assert_int_equal(got.n, want.n);
    assert_memory_equal(got.p, want.p, (size_t)want.n * 4);
    assert_int_equal(again.n, want.n);
    assert_memory_equal(again.p, want.p, (size_t)want.n * 4);
    iso_ids_free(&got);
    iso_ids_free(&again);
    iso_ids_free(&want);
    iso_str_free(&s);
  }
  iso_tok_enc_close(e);
  iso_tok_close(t);
  iso_map_close(&m);
  iso_ctx_close(c);
}

// A tokenizer of random merges over two letters: unlike trained ones it often has several merges for one entry, so that a merge makes
// a pair of lower rank than its own.
enum { WILD_MERGES = 60, WILD_VOCAB = 256 + WILD_MERGES };
static iso_tok *wild_tokenizer(iso_ctx *c, int *second_ways) {
  char dir[] = "/tmp/iso_tok_XXXXXX", path[64], piece[WILD_VOCAB][16] = {"a", "b"};
  iso_tok *t = train_text(c, (iso_bytes){NULL, 0}, 256, 0, false);
  assert_non_null(mkdtemp(dir));
  OK(iso_tok_save_hf(c, t, dir, &err));
  iso_tok_close(t);
  snprintf(path, sizeof path, "%s/tokenizer.json", dir);
  json_t *j;
  OK(iso_json_load(path, &j, &err));
  unlink(path);
  snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
  unlink(path);
  rmdir(dir);
  json_t *model = json_object_get(j, "model"), *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
  bool seen[WILD_VOCAB][WILD_VOCAB] = {{false}};
  for (int n = 2, k = 0; k < WILD_MERGES;) {
    int a = (int)rnd(n), b = (int)rnd(n);
    char joined[32];
    snprintf(joined, sizeof joined, "%s%s", piece[a], piece[b]);
    if (seen[a][b] || strlen(joined) > 6) continue;
    seen[a][b] = true;
    k++;
    json_array_append_new(merges, json_pack("[s, s]", piece[a], piece[b]));
    *second_ways += json_object_get(vocab, joined) != NULL;
    if (json_object_get(vocab, joined)) continue;
    snprintf(piece[n], sizeof piece[n], "%s", joined);
    json_object_set_new(vocab, joined, json_integer(256 + n++ - 2));
  }
  char *text = json_dumps(j, 0);
  OK(iso_tok_parse(text, strlen(text), "wild", &t, &err));
  free(text);
  json_decref(j);
  return t;
}

// The definition, quadratic: the pair of lowest rank, the leftmost first, looked for anew after every merge.
static void naive_encode(const iso_tok *t, const uint8_t *p, int n, iso_ids *out) {
  static int rank[WILD_VOCAB][WILD_VOCAB], product[WILD_MERGES];
  memset(rank, 0xFF, sizeof rank);
  for (int k = 0; k < WILD_MERGES; k++) {
    int32_t a, b, c;
    iso_tok_merge(t, k, &a, &b, &c);
    rank[a][b] = k;
    product[k] = c;
  }
  int32_t byte_id[256];
  for (int id = 0; id < 256; id++) {
    const uint8_t *q;
    size_t len;
    assert_true(iso_tok_piece(t, id, &q, &len) && len == 1);
    byte_id[*q] = id;
  }
  OK(iso_ids_room(out, n, &err));
  for (int i = 0; i < n; i++) out->p[i] = byte_id[p[i]];
  for (out->n = n;;) {
    int64_t at = -1;
    for (int64_t i = 0; i + 1 < out->n; i++) {
      int r = rank[out->p[i]][out->p[i + 1]];
      if (r >= 0 && (at < 0 || r < rank[out->p[at]][out->p[at + 1]])) at = i;
    }
    if (at < 0) return;
    out->p[at] = product[rank[out->p[at]][out->p[at + 1]]];
    memmove(out->p + at + 1, out->p + at + 2, (size_t)(--out->n - at - 1) * sizeof *out->p);
  }
}

// Random pieces of every length under random merges: short ones, scanned ones and long ones.
static void any_merges_equal_the_definition(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  int second_ways = 0;
  for (int round = 0; round < 40; round++) {
    iso_tok *t = wild_tokenizer(c, &second_ways);
    iso_tok_enc *e;
    OK(iso_tok_enc_open(t, &e, &err));
    for (int k = 0; k < 40; k++) {
      uint8_t text[900];
      int n = 1 + (int)rnd(k % 2 ? 110 : (int)sizeof text), letters = 1 + (int)rnd(3);
      for (int i = 0; i < n; i++) text[i] = (uint8_t)("abc"[rnd(letters)]);
      iso_ids got = {0}, want = {0};
      naive_encode(t, text, n, &want);
      OK(iso_tok_enc_run(e, text, (size_t)n, false, &got, &err));
      if (got.n != want.n || memcmp(got.p, want.p, (size_t)want.n * 4) != 0) fail_msg("round %d, text %d: %.*s", round, k, n, (const char *)text);
      iso_ids_free(&got);
      iso_ids_free(&want);
    }
    iso_tok_enc_close(e);
    iso_tok_close(t);
  }
  assert_true(second_ways > 40);
  iso_ctx_close(c);
}

static void any_bytes_survive(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(2);
  iso_str text = {0};
  random_text(&text, 4000, true);
  iso_tok *t = train_text(c, (iso_bytes){(const uint8_t *)text.p, text.n}, 900, ISO_TOK_SPECIALS, false);
  iso_tok_enc *e;
  OK(iso_tok_enc_open(t, &e, &err));
  for (int round = 0; round < 600; round++) {
    iso_str s = {0}, back = {0};
    iso_ids ids = {0};
    for (int64_t k = rnd(200); round % 2 && k > 0; k--) {
      char b = (char)rnd(256);
      iso_str_put(&s, &b, 1);
    }
    if (round % 2 == 0) random_text(&s, 40, true);
    OK(iso_tok_enc_run(e, s.p, s.n, false, &ids, &err));
    OK(iso_tok_decode(t, ids.p, ids.n, &back, &err));
    assert_int_equal(back.n, s.n);
    if (s.n) assert_memory_equal(back.p, s.p, s.n);
    for (int64_t i = 0; i < ids.n; i++) assert_true(ids.p[i] >= 0 && ids.p[i] < iso_tok_vocab(t) && !iso_tok_is_special(t, ids.p[i]));
    iso_str_free(&s);
    iso_str_free(&back);
    iso_ids_free(&ids);
  }
  int32_t bad[] = {0, 900};
  iso_str back = {0};
  assert_int_equal(iso_tok_decode(t, bad, 2, &back, &err), ISO_EINVAL);
  iso_str_free(&back);
  iso_tok_enc_close(e);
  iso_tok_close(t);
  iso_str_free(&text);
  iso_ctx_close(c);
}

static void threads_change_nothing(void **state) {
  (void)state;
  iso_ctx *one = open_ctx(1), *three = open_ctx(3);
  iso_str s = {0};
  while (s.n < 1u << 20) random_text(&s, 1000, true);
  for (int i = 0; i < 1 << 19; i++) iso_str_put(&s, "eatthoinsr" + rnd(10), 1);  // one piece, on which all later tasks have to wait
  while (s.n < 3u << 20) random_text(&s, 1000, true);
  iso_bytes docs[4] = {
      {(const uint8_t *)s.p, s.n - 1000}, {(const uint8_t *)s.p + s.n - 1000, 900}, {NULL, 0}, {(const uint8_t *)s.p + s.n - 100, 100}};
  iso_tok *a, *b;
  iso_tok_train_opts o = {.vocab = 700, .specials = ISO_TOK_SPECIALS};
  OK(iso_tok_train(one, &o, docs, 4, &a, &err));
  OK(iso_tok_train(three, &o, docs, 4, &b, &err));
  assert_true(iso_tok_hash(a) == iso_tok_hash(b));
  iso_ids many = {0}, lone = {0};
  int64_t ends[4];
  OK(iso_tok_encode_many(three, a, docs, 4, &many, ends, &err));
  for (int d = 0; d < 4; d++) {
    OK(iso_tok_encode(a, docs[d].p, docs[d].n, false, &lone, &err));
    assert_int_equal(ends[d], lone.n);
  }
  assert_int_equal(many.n, lone.n);
  assert_memory_equal(many.p, lone.p, (size_t)lone.n * 4);
  // A part of the text: also the same for any number of threads, and not what the whole gives.
  iso_tok *part[2];
  o.max_bytes = s.n / 10;
  OK(iso_tok_train(one, &o, docs, 4, &part[0], &err));
  OK(iso_tok_train(three, &o, docs, 4, &part[1], &err));
  assert_true(iso_tok_hash(part[0]) == iso_tok_hash(part[1]));
  assert_true(iso_tok_hash(part[0]) != iso_tok_hash(a));
  iso_tok_close(part[0]);
  iso_tok_close(part[1]);
  iso_ids_free(&many);
  iso_ids_free(&lone);
  iso_tok_close(a);
  iso_tok_close(b);
  iso_str_free(&s);
  iso_ctx_close(one);
  iso_ctx_close(three);
}

static void specials_stand_at_the_end(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  static const char text[] = "ab ab abc <|endoftext|> <|reserved_3|>x<|endoftext|";
  iso_tok *t = train_text(c, (iso_bytes){(const uint8_t *)text, sizeof text - 1}, 300, ISO_TOK_SPECIALS, false);
  int v = iso_tok_vocab(t);
  assert_int_equal(v, 300);
  assert_int_equal(iso_tok_merges(t), 300 - 256 - 33);
  assert_int_equal(iso_tok_eot(t), v - 33);
  assert_int_equal(iso_tok_special(t, "<|reserved_0|>"), v - 32);
  assert_int_equal(iso_tok_special(t, "<|reserved_31|>"), v - 1);
  assert_int_equal(iso_tok_special(t, "<|nothing|>"), -1);
  iso_ids plain = {0}, parsed = {0};
  OK(iso_tok_encode(t, text, sizeof text - 1, false, &plain, &err));
  OK(iso_tok_encode(t, text, sizeof text - 1, true, &parsed, &err));
  int special = 0, eot = 0;
  for (int64_t i = 0; i < plain.n; i++) assert_false(iso_tok_is_special(t, plain.p[i]));
  for (int64_t i = 0; i < parsed.n; i++) special += iso_tok_is_special(t, parsed.p[i]), eot += parsed.p[i] == v - 33;
  assert_int_equal(special, 2);
  assert_int_equal(eot, 1);
  iso_str back = {0};
  OK(iso_tok_decode(t, parsed.p, parsed.n, &back, &err));
  assert_string_equal(back.p, text);
  iso_str_free(&back);
  iso_ids_free(&plain);
  iso_ids_free(&parsed);
  iso_tok_close(t);
  // A text without pairs left ends early.
  t = train_text(c, (iso_bytes){(const uint8_t *)"abab", 4}, 400, ISO_TOK_SPECIALS, false);
  assert_int_equal(iso_tok_vocab(t), 256 + 2 + 33);
  iso_tok_close(t);
  t = train_text(c, (iso_bytes){NULL, 0}, 400, 0, false);
  assert_int_equal(iso_tok_vocab(t), 256);
  iso_tok_close(t);
  iso_tok_train_opts o = {.vocab = 288, .specials = ISO_TOK_SPECIALS};
  assert_int_equal(iso_tok_train(c, &o, NULL, 0, &t, &err), ISO_EINVAL);
  iso_ctx_close(c);
}

static void files_round_trip(void **state) {
  (void)state;
  iso_ctx *c = open_ctx(1);
  char dir[] = "/tmp/iso_tok_XXXXXX", path[64];
  assert_non_null(mkdtemp(dir));
  iso_str text = {0};
  random_text(&text, 3000, true);
  iso_tok *t = train_text(c, (iso_bytes){(const uint8_t *)text.p, text.n}, 800, ISO_TOK_SPECIALS, false), *u;
  OK(iso_tok_save_hf(c, t, dir, &err));
  OK(iso_tok_load(dir, &u, &err));
  assert_true(iso_tok_hash(t) == iso_tok_hash(u));
  assert_int_equal(iso_tok_eot(u), iso_tok_eot(t));
  iso_tok_close(u);
  snprintf(path, sizeof path, "%s/tokenizer.json", dir);
  char *json;
  size_t n;
  OK(iso_file_get(path, 1 << 24, &json, &n, &err));
  // Each of these makes other ids than ours, so each is refused.
  static const char *const swaps[][2] = {{"\"add_prefix_space\": false", "\"add_prefix_space\": true "},
                                         {"\"type\": \"BPE\"", "\"type\": \"WPM\""},
                                         {"\"byte_fallback\": false", "\"byte_fallback\": true "},
                                         {"\"normalizer\": null", "\"normalizer\": true"},
                                         {"\"use_regex\": true", "\"use_regex\": 9999"},
                                         {"\"single_word\": false", "\"single_word\": true "}};
  for (size_t i = 0; i < ISO_COUNT(swaps); i++) {
    char *at = strstr(json, swaps[i][0]);
    assert_non_null(at);
    memcpy(at, swaps[i][1], strlen(swaps[i][1]));
    iso_status st = iso_tok_parse(json, n, "test", &u, &err);
    if (st != ISO_EUNSUP) fail_msg("%s: %s", swaps[i][1], iso_status_name(st));
    memcpy(at, swaps[i][0], strlen(swaps[i][0]));
  }
  assert_int_equal(iso_tok_parse("{}", 2, "test", &u, &err), ISO_EFORMAT);
  for (size_t k = 0; k < n; k += n / 37 + 1) assert_true(iso_tok_parse(json, k, "test", &u, &err) < 0);
  free(json);
  unlink(path);
  snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
  unlink(path);
  rmdir(dir);
  assert_int_equal(iso_tok_load(dir, &u, &err), ISO_EIO);
  iso_tok_close(t);
  iso_str_free(&text);
  iso_ctx_close(c);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(equals_hugging_face),
      cmocka_unit_test(pieces_equal_pcre2),
      cmocka_unit_test(classes_equal_pcre2),
      cmocka_unit_test(cuts_change_no_piece),
      cmocka_unit_test(training_equals_recounting),
      cmocka_unit_test(encoding_equals_the_rule),
      cmocka_unit_test(any_bytes_survive),
      cmocka_unit_test(threads_change_nothing),
      cmocka_unit_test(specials_stand_at_the_end),
      cmocka_unit_test(files_round_trip),
      cmocka_unit_test(any_merges_equal_the_definition),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
