// plan serve --throughputs: the cheapest fleet from measured throughputs of each kind of replica on each size of requests.
#include "cli/plan/rates.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/file.h"
#include "plan/serve/fleet_ip.h"

typedef struct rates {
  int rows, kinds;
  double share[ISO_FLEET_BUCKETS_MAX], rate[ISO_FLEET_BUCKETS_MAX][ISO_FLEET_TYPES_MAX];
  double load[ISO_FLEET_BUCKETS_MAX * ISO_FLEET_TYPES_MAX];
  iso_fleet_answer answer;
} rates;

// The column of a kind: its name in --fleet, or any of its device's names.
static iso_status column_of(const iso_csv *c, const cli_rates_kind *k, int *at, iso_err *err) {
  for (int i = 0; i < c->cols; i++)
    if (strcmp(iso_csv_name(c, i), k->name) == 0 || iso_device_spec_is(k->device, iso_csv_name(c, i))) {
      *at = i;
      return ISO_OK;
    }
  return iso_fail(err, ISO_EFORMAT, "%s, line %lld: no column '%s'", c->what, (long long)c->header, k->name);
}

static iso_status read_rows(const iso_csv *c, const cli_rates_kind *kind, rates *r, iso_err *err) {
  int share, at[ISO_FLEET_TYPES_MAX];
  double sum = 0;
  ISO_TRY(iso_csv_need(c, "share", &share, err));
  for (int j = 0; j < r->kinds; j++) ISO_TRY(column_of(c, &kind[j], &at[j], err));
  if (c->rows < 1 || c->rows > ISO_FLEET_BUCKETS_MAX)
    return iso_fail(err, ISO_EFORMAT, "%s: %lld rows, expected 1 to %d", c->what, (long long)c->rows, ISO_FLEET_BUCKETS_MAX);
  r->rows = (int)c->rows;
  for (int i = 0; i < r->rows; i++) {
    ISO_TRY(iso_csv_within(c, i, share, "share", 0, 1e9, &r->share[i], err));
    for (int j = 0; j < r->kinds; j++) ISO_TRY(iso_csv_within(c, i, at[j], kind[j].name, 0, 1e9, &r->rate[i][j], err));
    sum += r->share[i];
  }
  if (!(sum > 0)) return iso_fail(err, ISO_EFORMAT, "%s: the shares add up to 0", c->what);
  for (int i = 0; i < r->rows; i++) r->share[i] /= sum;
  return ISO_OK;
}

static json_t *result(const rates *r, const cli_rates_kind *kind, double rate, const char *path) {
  const iso_fleet_answer *a = &r->answer;
  json_t *fleet = json_object(), *one = json_object(), *busy = json_object(), *rows = json_array();
  for (int j = 0; j < r->kinds; j++) {
    json_object_set_new(fleet, kind[j].name, json_integer((json_int_t)a->count[j]));
    json_object_set_new(one, kind[j].name, iso_json_num(a->single[j] < INFINITY ? a->single[j] : NAN));
    json_object_set_new(busy, kind[j].name, iso_json_num(a->used[j]));
  }
  for (int i = 0; i < r->rows; i++) {
    json_t *by = json_object();
    for (int j = 0; j < r->kinds; j++)
      if (a->share[i][j] > 0) json_object_set_new(by, kind[j].name, iso_json_num(a->share[i][j]));
    json_array_append_new(
        rows, json_pack("{s:o, s:o, s:o}", "share", iso_json_num(r->share[i]), "served_by", by, "usd_h_once_more", iso_json_num(a->price[i])));
  }
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:{s:o}, s:s}", "kind", "serve", "throughputs", path, "req_per_s",
                   iso_json_num(rate), "fleet", fleet, "usd_h", iso_json_range(a->cost, NAN, NAN, "the throughputs are given"), "usd_h_bound",
                   iso_json_num(a->bound), "gap", iso_json_num(a->gap), "usd_h_one_type", one, "load_in_replicas", busy, "buckets", rows, "binding",
                   "throughputs", "shadow", "usd_h_per_req_per_s", iso_json_num(a->relaxed / rate), "interval",
                   "none: the throughputs are given and say nothing of their error");
}

iso_status cli_rates_plan(const char *path, const cli_rates_kind *kind, int kinds, double rate, int slices, json_t **out, iso_err *err) {
  char *text = NULL;
  size_t n = 0;
  iso_csv c = {0};
  double cost[ISO_FLEET_TYPES_MAX];
  int64_t most[ISO_FLEET_TYPES_MAX];
  *out = NULL;
  for (int j = 0; j < kinds; j++) {
    if (!(kind[j].usd_h > 0)) return iso_fail(err, ISO_EINVAL, "--fleet %s: its price is not known; give --usd-h", kind[j].name);
    cost[j] = kind[j].usd_h;
    most[j] = kind[j].most;
  }
  ISO_TRY(cli_input(iso_file_get(path, 1u << 20, &text, &n, err), err));
  rates *r = calloc(1, sizeof *r);
  iso_status st = r ? cli_input(iso_csv_parse(text, n, path, &c, err), err) : iso_fail(err, ISO_ENOMEM, "plan serve: no memory");
  if (st == ISO_OK) {
    r->kinds = kinds;
    st = cli_input(read_rows(&c, kind, r, err), err);
  }
  if (st == ISO_OK) {
    for (int i = 0; i < r->rows; i++)
      for (int j = 0; j < kinds; j++) r->load[i * kinds + j] = r->rate[i][j] > 0 ? rate * r->share[i] / r->rate[i][j] : INFINITY;
    iso_fleet_ip p = {.buckets = r->rows, .types = kinds, .load = r->load, .cost = cost, .most = most, .slices = slices};
    st = iso_fleet_ip_solve(&p, &r->answer, err);
  }
  if (st == ISO_OK) *out = result(r, kind, rate, path);
  iso_csv_close(&c);
  free(text);
  free(r);
  return st;
}

void cli_rates_print(const json_t *r) {
  char b[40];
  const char *type;
  const json_t *v;
  bool first = true;
  cli_row("requests", "%.4g a second in %zu sizes, throughputs of %s", cli_at(r, "req_per_s"), json_array_size(json_object_get(r, "buckets")),
          cli_text_at(r, "throughputs"));
  json_object_foreach(json_object_get(r, "fleet"), type, v) {
    if (json_integer_value(v) == 0) continue;
    cli_row(first ? "fleet" : "", "%lld x %s (%.2f of them busy)", (long long)json_integer_value(v), type,
            json_number_value(json_object_get(json_object_get(r, "load_in_replicas"), type)));
    first = false;
  }
  cli_row("price an hour", "%s", iso_unit_print(cli_at(r, "usd_h"), ISO_UNIT_USD, b, sizeof b));
  cli_row("interval", "%s", cli_text_at(r, "interval"));
  cli_row("bound from below", "%s (gap %.2f%%)", iso_unit_print(cli_at(r, "usd_h_bound"), ISO_UNIT_USD, b, sizeof b), 100 * cli_at(r, "gap"));
  json_object_foreach(json_object_get(r, "usd_h_one_type"), type, v)
      cli_row("", "of %s alone: %s", type, json_is_null(v) ? "does not carry it" : iso_unit_print(json_number_value(v), ISO_UNIT_USD, b, sizeof b));
  cli_row("shadow price", "a request a second more costs %s an hour",
          iso_unit_print(cli_at(r, "shadow.usd_h_per_req_per_s"), ISO_UNIT_USD, b, sizeof b));
}
