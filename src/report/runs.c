// The list of runs: a table for terminals and JSON.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report/html.h"
#include "report/load_json.h"
#include "report/term.h"

// What a row shows beyond its columns.
typedef struct outcome {
  double params, tokens, bpb, seconds;
} outcome;

static bool parse_time(const char *s, time_t *out) {
  struct tm tm = {0};
  const char *end = s ? strptime(s, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
  if (!end || *end) return false;
  *out = timegm(&tm);
  return true;
}

// The result knows seconds from process start to exit; else the row's two times, which are whole seconds.
static outcome outcome_of(const iso_store_run *r) {
  json_t *result = iso_report_object(r->result_json);
  outcome o = {iso_report_num(result, "params"), iso_report_num(result, "tokens"), iso_report_num(result, "bits_per_byte"),
               iso_report_num(result, "elapsed_s")};
  json_decref(result);
  if (r->params >= 0) o.params = (double)r->params;
  if (r->tokens >= 0) o.tokens = (double)r->tokens;
  time_t from, to;
  if (isnan(o.seconds) && parse_time(r->created, &from) && parse_time(r->ended, &to)) o.seconds = difftime(to, from);
  return o;
}

// Characters of an id that tell the rows apart, at least 12 (of a ULID, ten are the time): iso_store_find takes such a prefix.
static int id_chars(const iso_store_run *rows, int64_t n) {
  size_t most = 12;
  for (int64_t i = 1; i < n; i++) {
    size_t k = 0;
    if (!rows[i].id || !rows[i - 1].id) continue;
    while (rows[i].id[k] && rows[i].id[k] == rows[i - 1].id[k]) k++;
    if (k + 1 > most) most = k + 1;
  }
  return (int)most;
}

iso_status iso_report_runs_text(const iso_store_run *rows, int64_t n, const iso_report_term *opt, iso_str *out, iso_err *err) {
  static const char *const HEAD[] = {"id", "kind", "status", "when", "params", "tokens", "bits/byte", "time", "output"};
  iso_term t;
  iso_term_table g;
  iso_term_open(&t, opt, out);
  if (n == 0) {
    iso_str_add(out, "  no runs yet: isoflop demo --budget 5m makes the first\n");
    return out->failed ? iso_fail(err, ISO_ENOMEM, "runs: no memory for a table") : ISO_OK;
  }
  iso_term_table_open(&g, (int)ISO_COUNT(HEAD));
  const int id = id_chars(rows, n);
  g.left = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 8;
  for (size_t i = 0; i < ISO_COUNT(HEAD); i++) iso_term_cell(&t, &g, HEAD[i]);
  for (int64_t i = 0; i < n; i++) {
    const iso_store_run *r = &rows[i];
    outcome o = outcome_of(r);
    char buf[ISO_TEXT_NUM];
    iso_str when = {0};
    iso_report_when(r->created, 0, &when);
    if (when.n > 4 && strcmp(when.p + when.n - 4, " UTC") == 0) when.p[when.n - 4] = 0;
    (void)snprintf(buf, sizeof buf, "%.*s", id, r->id ? r->id : "");
    iso_term_cell(&t, &g, buf);
    iso_term_cell(&t, &g, r->kind);
    iso_term_cell(&t, &g, r->status);
    iso_term_cell(&t, &g, when.p);
    iso_str_free(&when);
    iso_term_cell(&t, &g, iso_text_count(o.params, t.ascii, buf));
    iso_term_cell(&t, &g, iso_text_count(o.tokens, t.ascii, buf));
    iso_term_cell(&t, &g, iso_text_fixed(o.bpb, 4, t.ascii, buf));
    iso_term_cell(&t, &g, iso_text_res(o.seconds, ISO_UNIT_S, t.ascii, buf));
    iso_term_cell(&t, &g, r->out_dir);
  }
  iso_term_table_close(&t, &g);
  return out->failed ? iso_fail(err, ISO_ENOMEM, "runs: no memory for a table") : ISO_OK;
}

iso_status iso_report_runs_json(const iso_store_run *rows, int64_t n, json_t **out, iso_err *err) {
  json_t *list = json_array();
  for (int64_t i = 0; list && i < n; i++) {
    const iso_store_run *r = &rows[i];
    outcome o = outcome_of(r);
    json_t *v = json_object();
    const struct {
      const char *key, *value;
    } text[] = {{"id", r->id},           {"parent", r->parent}, {"kind", r->kind},       {"status", r->status},
                {"created", r->created}, {"ended", r->ended},   {"out_dir", r->out_dir}, {"command", r->command},
                {"rev", r->rev},         {"hw_id", r->hw_id},   {"note", r->note}};
    for (size_t k = 0; k < ISO_COUNT(text); k++) (void)json_object_set_new(v, text[k].key, iso_text_json(text[k].value));
    (void)json_object_set_new(v, "params", isnan(o.params) ? json_null() : json_integer((json_int_t)o.params));
    (void)json_object_set_new(v, "tokens", isnan(o.tokens) ? json_null() : json_integer((json_int_t)o.tokens));
    (void)json_object_set_new(v, "bits_per_byte", iso_json_num(o.bpb));
    (void)json_object_set_new(v, "elapsed_s", iso_json_num(o.seconds));
    (void)json_array_append_new(list, v);
  }
  *out = list ? json_pack("{s:o}", "runs", list) : NULL;
  return *out ? ISO_OK : iso_fail(err, ISO_ENOMEM, "runs: no memory for %lld rows", (long long)n);
}
