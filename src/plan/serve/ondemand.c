// Bytes and time of weights read on demand, way by way.
#include "plan/serve/ondemand.h"

#include <math.h>
#include <string.h>

static bool share(double x) { return x > 0 && x <= 1; }

static iso_status check(const iso_serve_setup *u, const iso_serve_store *s, double batch, iso_err *err) {
  if (!(s->rate_b_s > 0 && s->rate_b_s < INFINITY))
    return iso_fail(err, ISO_EINVAL, "weights on demand: %g bytes a second, expected more than 0", s->rate_b_s);
  if (!(s->latency_s >= 0 && s->latency_s < 10)) return iso_fail(err, ISO_EINVAL, "weights on demand: %g s a read, expected 0 to 10", s->latency_s);
  if (!(batch >= 1 && batch < 1e9)) return iso_fail(err, ISO_EINVAL, "weights on demand: batch %g, expected at least 1", batch);
  if (isnan(s->used)) return ISO_OK;
  if (u->n.moe_layers > 0)
    return iso_fail(err, ISO_EUNSUP, "weights on demand: shares of neurons of %s, whose MLPs are experts; expected a model without", u->shape.name);
  if (!share(s->used))
    return iso_fail(err, ISO_EINVAL, "weights on demand: a token uses %g of the neurons, expected more than 0 and at most 1", s->used);
  if (isnan(s->fresh) && isnan(s->kept)) return ISO_OK;
  if (!(share(s->fresh) && share(s->kept) && s->fresh <= s->used && s->used <= s->kept))
    return iso_fail(err, ISO_EINVAL, "weights on demand: shares used %g, fresh %g and kept %g, expected fresh <= used <= kept", s->used, s->fresh,
                    s->kept);
  return ISO_OK;
}

// Bytes of MLP weights on one device.
static double rows_b(const iso_serve_setup *u) { return u->n.dense * u->format.weight_b / (double)u->layout.tp; }

static double expert_b(const iso_serve_setup *u) {
  return u->n.expert * (double)u->shape.experts * u->n.moe_layers * u->format.expert_b / (double)(u->layout.moe_tp * u->layout.moe_ep);
}

// A way that reads `part` of the neurons for each sequence, in reads of `each` bytes, beside `kept` of them in memory.
static iso_serve_reads by_rows(const iso_serve_setup *u, const iso_serve_store *s, const char *name, double part, double kept, double each,
                               double batch) {
  double all = rows_b(u), b = all * iso_serve_union(part, batch), rate = 1 / (1 / s->rate_b_s + s->latency_s / each);
  return (iso_serve_reads){name, u->weight_b - all * (1 - kept), b, rate, b / rate};
}

// The ways to read when memory has room for `room` bytes of weights.
static iso_status list(const iso_serve_setup *u, const iso_serve_store *s, double room, double batch, iso_serve_reads *at, int *n, iso_err *err) {
  double w = u->weight_b, held = fmin(w, room), row = (double)u->shape.width * u->format.weight_b, mats = (double)u->shape.mlp_mats;
  at[(*n)++] = (iso_serve_reads){"all", 0, w, s->rate_b_s, w / s->rate_b_s};
  at[(*n)++] = (iso_serve_reads){"held", held, w - held, s->rate_b_s, (w - held) / s->rate_b_s};
  if (u->n.moe_layers > 0) {
    double experts = expert_b(u), lack = fmax(0, w - experts - held), b = lack + fmin(experts, w - held) * iso_serve_reached(&u->shape, batch);
    at[(*n)++] = (iso_serve_reads){"routed", held, b, s->rate_b_s, b / s->rate_b_s};
  }
  if (isnan(s->used)) return ISO_OK;
  bool window = !isnan(s->fresh);
  double part = window ? s->fresh : s->used, kept = window ? iso_serve_union(s->kept, batch) : 0;
  at[(*n)++] = by_rows(u, s, "predicted", s->used, 0, row, batch);
  if (window) at[(*n)++] = by_rows(u, s, "windowed", part, kept, row, batch);
  at[*n] = by_rows(u, s, "bundled", part, kept, row * mats, batch);
  double need = at[(*n)++].held_b;
  if (need <= room) return ISO_OK;
  iso_fail(err, ISO_ENOMEM, "%s in %s: all weights but the MLPs' and the kept neurons take %.1f GB of a %s, %.1f GB are free", u->shape.name,
           u->format.name, need / 1e9, u->device.name, room / 1e9);
  return iso_hint(err, ISO_ENOMEM, "without shares of neurons, what memory holds stays there and the rest is read every step");
}

// What steps of any batch read by the way chosen.
static void put_fetch(iso_serve_setup *u, const iso_serve_store *s, const iso_serve_reads *way) {
  double lack = u->weight_b - way->held_b;
  u->fetch = (iso_serve_fetch){.prompt_s = lack / s->rate_b_s};
  if (strcmp(way->name, "held") == 0) {
    u->fetch.step_s = way->read_s;
  } else if (strcmp(way->name, "routed") == 0) {
    double experts = fmin(expert_b(u), lack);
    u->fetch.step_s = (lack - experts) / s->rate_b_s;
    u->fetch.rows_s = experts / s->rate_b_s;
    u->fetch.fresh = (double)u->shape.used / (double)u->shape.experts;
  } else {
    u->fetch.rows_b = rows_b(u);
    u->fetch.rows_s = u->fetch.rows_b / way->rate_b_s;
    u->fetch.fresh = isnan(s->fresh) ? s->used : s->fresh;
    u->fetch.used = s->used;
  }
  u->weight_b = way->held_b;
}

iso_status iso_serve_on_demand(iso_serve_setup *u, const iso_serve_store *s, double tok, double batch, double mem_share,
                               iso_serve_reads at[ISO_SERVE_READS_MAX], int *n, int *best, iso_err *err) {
  iso_serve_setup roomy = *u;
  iso_serve_room r;
  *n = *best = 0;
  ISO_TRY(check(u, s, batch, err));
  roomy.device.mem_b = 1e18;
  ISO_TRY(iso_serve_capacity(&roomy, tok, mem_share, &r, err));
  // A byte less, so that the cache's own count of what is left does not round to one sequence less.
  double cache = ceil(batch / (double)u->layout.dp) * r.kv_dev_b_per_seq, room = u->device.mem_b * mem_share - cache - 1;
  if (room <= 0)
    return iso_fail(err, ISO_ENOMEM, "%g sequences of %g tokens take %.1f GB of cache on a %s, %.1f of its %.1f GB are usable", batch, tok,
                    cache / 1e9, u->device.name, u->device.mem_b * mem_share / 1e9, u->device.mem_b / 1e9);
  ISO_TRY(list(u, s, room, batch, at, n, err));
  *best = 1;
  for (int i = 2; i < *n; i++)
    if (at[i].read_s < at[*best].read_s) *best = i;
  put_fetch(u, s, &at[*best]);
  return ISO_OK;
}

json_t *iso_serve_reads_json(const iso_serve_reads *at, int n, int best) {
  json_t *ways = json_array();
  for (int i = 0; i < n; i++)
    json_array_append_new(ways, json_pack("{s:s, s:o, s:o, s:o, s:o, s:s}", "name", at[i].name, "held_b", iso_json_num(at[i].held_b), "read_b",
                                          iso_json_num(at[i].read_b), "rate_b_s", iso_json_num(at[i].rate_b_s), "read_s", iso_json_num(at[i].read_s),
                                          "interval", "none: bytes over the rate that the user states"));
  return json_pack("{s:s, s:o}", "chosen", at[best].name, "ways", ways);
}
