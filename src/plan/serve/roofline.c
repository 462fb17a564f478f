// Work of serving steps, their time, and the memory behind them.
#include "plan/serve/ops.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

iso_status iso_serve_format_get(const char *name, const iso_serve_shape *s, iso_serve_format *out, iso_err *err) {
  static const iso_serve_format known[] = {
      {"bf16", 2, 2, 2, 2, 16}, {"fp8", 1, 1, 2, 1, 8}, {"fp4", 0.5625, 0.5625, 2, 1, 4}, {"int4", 0.5625, 0.5625, 2, 2, 16}};
  for (size_t i = 0; i < ISO_COUNT(known); i++) {
    if (strcmp(name, known[i].name)) continue;
    *out = known[i];
    if (s->kv_rank > 0 && out->bits == 4) out->weight_b = 1;
    if (i == 3 && s->dense_layers < s->layers) out->weight_b = 2;
    if (s->mxfp4) {
      out->weight_b = out->kv_b = 2;
      out->expert_b = 0.53125;
    }
    return ISO_OK;
  }
  return iso_fail(err, ISO_EINVAL, "format \"%.20s\", expected bf16, fp8, fp4 or int4", name);
}

iso_serve_layout iso_serve_layout_tp(const iso_serve_shape *s, int64_t n) {
  return s->dense_layers < s->layers ? (iso_serve_layout){n, 1, 1, n} : (iso_serve_layout){n, 1, 1, 1};
}

iso_status iso_serve_setup_init(iso_serve_setup *u, const iso_serve_shape *s, const iso_serve_device *d, const iso_serve_format *f,
                                iso_serve_layout l, iso_err *err) {
  ISO_TRY(iso_serve_shape_check(s, err));
  ISO_TRY(iso_serve_device_check(d, err));
  const int64_t max = 1 << 20;
  if (l.tp < 1 || l.dp < 1 || l.moe_tp < 1 || l.moe_ep < 1 || l.tp > max || l.dp > max || l.moe_tp > max || l.moe_ep > max)
    return iso_fail(err, ISO_EINVAL, "layout tp %lld, dp %lld, moe_tp %lld, moe_ep %lld: expected positive numbers", (long long)l.tp, (long long)l.dp,
                    (long long)l.moe_tp, (long long)l.moe_ep);
  bool moe = s->dense_layers < s->layers;
  if (!moe && (l.dp > 1 || l.moe_tp * l.moe_ep > 1))
    return iso_fail(err, ISO_EINVAL, "layout: attention ranks or expert parallelism for %s, which has no experts; use more replicas", s->name);
  if (moe && l.moe_tp * l.moe_ep != l.tp * l.dp)
    return iso_fail(err, ISO_EINVAL, "layout: attention takes tp x dp = %lld devices, experts moe_tp x moe_ep = %lld; expected the same",
                    (long long)(l.tp * l.dp), (long long)(l.moe_tp * l.moe_ep));
  if (s->heads % l.tp)
    return iso_fail(err, ISO_EINVAL, "layout: tp %lld does not divide the %lld heads of %s", (long long)l.tp, (long long)s->heads, s->name);
  if (!(f->weight_b > 0 && f->expert_b > 0 && f->head_b > 0 && f->kv_b > 0 && f->weight_b <= 8 && f->expert_b <= 8 && f->head_b <= 8 && f->kv_b <= 8))
    return iso_fail(err, ISO_EINVAL, "format %s: bytes per element must be in (0, 8]", f->name);
  *u = (iso_serve_setup){.shape = *s, .device = *d, .format = *f, .layout = l, .n = iso_serve_counts_of(s), .devices = l.tp * l.dp};
  const iso_serve_counts *n = &u->n;
  double embed = s->params > 0 || s->tied ? 0 : n->head;
  u->weight_b = ((n->attention + n->dense) * f->weight_b + (n->head + embed) * f->head_b) / (double)l.tp +
                n->expert * (double)s->experts * n->moe_layers * f->expert_b / (double)(l.moe_tp * l.moe_ep);
  return ISO_OK;
}

// Tokens that attention reads of a context, per cached layer on average.
static double attended(const iso_serve_setup *u, double ctx) {
  const iso_serve_shape *s = &u->shape;
  if (s->top_k > 0) return fmin(ctx, (double)s->top_k);
  double part = (double)s->window_layers / u->n.cached_layers;
  return part > 0 ? (1 - part) * ctx + part * fmin(ctx, (double)s->window) : ctx;
}

// Bytes that one decoding sequence reads on each device of its rank: the cache, the sparse index, recurrent states (read and written).
static double cache_read_b(const iso_serve_setup *u, double ctx) {
  const iso_serve_shape *s = &u->shape;
  double b = attended(u, ctx) * u->n.kv_per_tok * u->format.kv_b / fmin((double)u->layout.tp, u->n.kv_heads);
  b += ctx * (double)s->index_dim * u->n.cached_layers;
  return b + (double)(s->linear_layers * s->linear_state) * 4 / (double)u->layout.tp;
}

double iso_serve_union(double share, double sequences) { return share >= 1 ? 1 : -expm1(sequences * log1p(-share)); }

double iso_serve_reached(const iso_serve_shape *s, double tokens) {
  return s->used >= s->experts ? 1 : iso_serve_union((double)s->used / (double)s->experts, tokens);
}

// Seconds of link time for `tok` tokens of one attention rank: two all-reduces a layer over tp devices (ring: 2 (n-1)/n of the bytes), and for
// attention ranks the dispatch to and the combination from the experts' devices.
static double link_s(const iso_serve_setup *u, double tok) {
  const iso_serve_layout *l = &u->layout;
  double n = (double)u->devices, tp = (double)l->tp, row = (double)u->shape.width * 2, rate = u->device.link_b_s, t = 0;
  if (u->devices > u->device.node) rate = u->device.net_b_s + (rate - u->device.net_b_s) * (double)u->device.node / n;
  if (tp > 1) t += 2 * (double)u->shape.layers * tok * row * 2 * (tp - 1) / tp / rate;
  if (l->dp > 1) t += u->n.moe_layers * tok * row * 1.5 * fmin((double)u->shape.used, (double)l->moe_ep) * (n - 1) / n / rate;
  return t;
}

static void decode_work(const iso_serve_setup *u, const iso_serve_step *p, double rate, iso_serve_work *w) {
  const iso_serve_counts *n = &u->n;
  double tp = (double)u->layout.tp, rank = fmax(1, p->seqs / (double)u->layout.dp), spread = (double)(u->layout.moe_tp * u->layout.moe_ep);
  w->kv_b = rank * cache_read_b(u, p->ctx);
  double flop = 2 * (n->attention + n->dense + n->head) * rank / tp + 2 * n->expert * (double)u->shape.used * n->moe_layers * p->seqs / spread;
  w->flop_s = flop / rate + 2 * rank * attended(u, p->ctx) * n->score_decode / tp / u->device.bf16_flop_s;
  w->link_s = link_s(u, rank);
}

static void prefill_work(const iso_serve_setup *u, const iso_serve_step *p, double rate, iso_serve_work *w) {
  const iso_serve_counts *n = &u->n;
  double all = (double)u->devices;
  double flop = 2 * (n->attention + n->dense + n->expert * (double)u->shape.used * n->moe_layers);
  if (u->shape.params > 0) flop = 2 * u->shape.params;
  w->prefill_flop_s = p->prefill_tok * (flop / rate + 2 * attended(u, p->prefill_ctx) * n->score_prefill / u->device.bf16_flop_s) / all;
  w->prefill_s = w->prefill_flop_s + link_s(u, p->prefill_tok / (double)u->layout.dp);
}

// Decoding reads what it lacks of the weights, and leaves alone the neurons that no sequence uses. A prompt uses all.
static void fetch_work(const iso_serve_setup *u, const iso_serve_step *p, double rate, iso_serve_work *w) {
  const iso_serve_fetch *f = &u->fetch;
  w->store_s = p->prefill_tok > 0 ? f->prompt_s : f->step_s + f->rows_s * iso_serve_union(f->fresh, p->seqs);
  if (p->prefill_tok > 0 || !(f->rows_b > 0)) return;
  w->weight_b -= f->rows_b * (1 - iso_serve_union(f->used, p->seqs));
  w->flop_s -= 2 * f->rows_b / u->format.weight_b * (1 - f->used) * p->seqs / rate;
}

// What tables tell of a step, and what they leave.
static void table_work(const iso_serve_setup *u, const iso_serve_step *p, iso_serve_work *w) {
  const iso_serve_ops *o = u->ops;
  const iso_serve_counts *n = &u->n;
  double dp = (double)u->layout.dp, tok = p->seqs + p->prefill_tok, rank = fmax(1, p->seqs / dp), ctx = fmax(1, attended(u, p->ctx));
  w->table_s = w->table_link_s = NAN;
  if (!o || !o->products || !(tok > 0)) return;
  w->table_s = iso_serve_ops_s(o->block_lb, fmax(1, tok));
  w->rest_mem_s = w->rest_flop_s = w->rest_prefill_s = 0;
  if (p->seqs > 0) {
    w->table_s += iso_serve_ops_s(o->head_lb, rank);
    if (o->decode) {
      w->table_s += iso_serve_ops_decode_s(o, rank, ctx);
    } else {
      w->rest_mem_s = w->kv_b / u->device.mem_b_s;
      w->rest_flop_s = 2 * rank * attended(u, p->ctx) * n->score_decode / (double)u->layout.tp / u->device.bf16_flop_s;
    }
  }
  if (p->prefill_tok > 0) {
    double prompt = fmax(1, 2 * p->prefill_ctx);
    if (o->prefill)
      w->table_s += iso_serve_ops_s(o->prefill_lb, prompt) * p->prefill_tok / prompt / dp;
    else
      w->rest_prefill_s = p->prefill_tok * 2 * attended(u, p->prefill_ctx) * n->score_prefill / u->device.bf16_flop_s / (double)u->devices;
  }
  if (o->link) w->table_link_s = iso_serve_ops_s(o->link_lb, fmax(1, tok));
  w->launches = fmax(0, n->launches - o->kernels);
}

iso_serve_work iso_serve_work_of(const iso_serve_setup *u, const iso_serve_step *p) {
  const iso_serve_shape *s = &u->shape;
  const iso_serve_counts *n = &u->n;
  const iso_serve_layout *l = &u->layout;
  iso_serve_work w = {0};
  double rate = iso_serve_device_peak(&u->device, u->format.bits);
  w.weight_b = ((n->attention + n->dense) * u->format.weight_b + n->head * u->format.head_b) / (double)l->tp;
  if (n->moe_layers > 0)
    w.weight_b += iso_serve_reached(s, p->seqs + p->prefill_tok) * n->expert * (double)s->experts * n->moe_layers * u->format.expert_b /
                  (double)(l->moe_tp * l->moe_ep);
  if (p->seqs > 0) decode_work(u, p, rate, &w);
  if (p->prefill_tok > 0) prefill_work(u, p, rate, &w);
  fetch_work(u, p, rate, &w);
  w.mem_s = (w.weight_b + w.kv_b) / u->device.mem_b_s;
  w.launches = n->launches;
  w.collectives = (l->tp > 1 ? 2 * (double)s->layers : 0) + (l->dp > 1 ? 2 * n->moe_layers : 0);
  w.net_collectives = u->devices > u->device.node ? 2 * (double)s->layers : 0;
  table_work(u, p, &w);
  return w;
}

iso_serve_work iso_serve_mean_work(const iso_serve_setup *u, double seqs, double prompt, double output, bool mixed) {
  iso_serve_step dec = {.seqs = seqs, .ctx = prompt + output / 2},
                 pre = {.prefill_tok = fmax(0, seqs - 1) * prompt / output, .prefill_ctx = prompt / 2};
  iso_serve_work w = iso_serve_work_of(u, &dec);
  if (mixed && pre.prefill_tok > 0) {
    // Experts that only prompt tokens reach are not read again: prompts come in few steps, not in every one.
    iso_serve_work p = iso_serve_work_of(u, &pre);
    w.prefill_s = p.prefill_s;
    w.prefill_flop_s = p.prefill_flop_s;
    // Products run over the tokens of both.
    iso_serve_step both = {.seqs = dec.seqs, .ctx = dec.ctx, .prefill_tok = pre.prefill_tok, .prefill_ctx = pre.prefill_ctx};
    table_work(u, &both, &w);
  }
  return w;
}

static double device_floor_s(const iso_serve_work *w) {
  return fmax(fmax(w->mem_s, w->flop_s + w->prefill_flop_s), w->link_s + w->prefill_s - w->prefill_flop_s);
}

double iso_serve_floor_s(const iso_serve_work *w) { return fmax(device_floor_s(w), w->store_s); }

iso_serve_coef iso_serve_coef_ideal(void) { return iso_serve_coef_efficiency(1, 1); }

iso_serve_coef iso_serve_coef_efficiency(double flop_eff, double mem_eff) {
  return (iso_serve_coef){.overlap = true, .mem = 1 / mem_eff, .flop = 1 / flop_eff, .link = 1, .prefill = 1 / flop_eff, .scale = 1};
}

// Bytes and products, one after another or behind one another.
static double busy_s(const iso_serve_coef *c, double mem, double flop, double prefill) {
  return c->overlap ? fmax(mem * c->mem, flop * c->flop + prefill * c->prefill) : mem * c->mem + flop * c->flop + prefill * c->prefill;
}

double iso_serve_time_s(const iso_serve_work *w, const iso_serve_coef *c) {
  double move = w->prefill_s - w->prefill_flop_s, fixed = w->launches * c->launch_s + w->net_collectives * c->net_s;
  double exchange = w->link_s * c->link + move * (c->overlap ? c->link : c->prefill) + w->collectives * c->collective_s;
  double t = isnan(w->table_s) ? busy_s(c, w->mem_s, w->flop_s, w->prefill_flop_s)
                               : w->table_s + busy_s(c, w->rest_mem_s, w->rest_flop_s, w->rest_prefill_s);
  if (!isnan(w->table_s) && !isnan(w->table_link_s)) exchange = w->table_link_s;
  return fmax((t + exchange + fixed) * c->scale, device_floor_s(w)) + w->store_s;
}

double iso_serve_step_s(const iso_serve_setup *u, const iso_serve_coef *c, const iso_serve_step *step) {
  iso_serve_work w = iso_serve_work_of(u, step);
  return iso_serve_time_s(&w, c);
}

const char *iso_serve_bound(const iso_serve_work *w, const iso_serve_coef *c) {
  static const char *const name[] = {"memory", "compute", "link", "launch", "store"};
  double part[5] = {w->mem_s * c->mem, w->flop_s * c->flop + w->prefill_flop_s * c->prefill,
                    w->link_s * c->link + (w->prefill_s - w->prefill_flop_s) * (c->overlap ? c->link : c->prefill) +
                        w->collectives * c->collective_s + w->net_collectives * c->net_s,
                    w->launches * c->launch_s, w->store_s};
  int best = 0;
  for (int i = 1; i < 5; i++)
    if (part[i] > part[best]) best = i;
  return name[best];
}

iso_status iso_serve_capacity(const iso_serve_setup *u, double tok, double share, iso_serve_room *r, iso_err *err) {
  const iso_serve_shape *s = &u->shape;
  if (!(tok > 0 && tok < 1e12)) return iso_fail(err, ISO_EINVAL, "capacity: %g tokens a sequence, expected more than 0 and less than 1e12", tok);
  if (!(share > 0 && share <= 1)) return iso_fail(err, ISO_EINVAL, "capacity: memory share %g, expected a number in (0, 1]", share);
  double tp = (double)u->layout.tp, window = (double)s->window_layers / u->n.cached_layers;
  double kept = window > 0 ? (1 - window) * tok + window * fmin(tok, (double)s->window) : tok;
  double index = tok * (double)s->index_dim * u->n.cached_layers, state = (double)(s->linear_layers * s->linear_state) * 2;
  memset(r, 0, sizeof *r);
  r->weight_b = u->weight_b;
  r->kv_b_per_seq = kept * u->n.kv_per_tok * u->format.kv_b + index + state;
  r->kv_dev_b_per_seq = kept * u->n.kv_per_tok * u->format.kv_b / fmin(tp, u->n.kv_heads) + index + state / tp;
  r->free_b = u->device.mem_b * share - u->weight_b;
  if (r->free_b <= 0) {
    iso_fail(err, ISO_ENOMEM, "%s in %s on %lld x %s: weights take %.1f GB of a device, %.1f of its %.1f GB are usable", s->name, u->format.name,
             (long long)u->devices, u->device.name, u->weight_b / 1e9, u->device.mem_b * share / 1e9, u->device.mem_b / 1e9);
    return iso_hint(err, ISO_ENOMEM, "use more devices per replica or a narrower format, or plan infer --flash-rate to read weights on demand");
  }
  r->seqs = floor(r->free_b / r->kv_dev_b_per_seq * (1 + 1e-12)) * (double)u->layout.dp;
  r->cache_tok = r->free_b / r->kv_dev_b_per_seq * (double)u->layout.dp * tok;
  return ISO_OK;
}

iso_status iso_serve_phases_of(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double batch, double share,
                               iso_serve_phases *o, iso_err *err) {
  memset(o, 0, sizeof *o);
  if (!(prompt >= 1 && prompt < 1e9)) return iso_fail(err, ISO_EINVAL, "prompt of %g tokens, expected at least 1", prompt);
  if (!(output >= 1 && output < 1e9)) return iso_fail(err, ISO_EINVAL, "output of %g tokens, expected at least 1", output);
  if (isnan(batch)) return iso_fail(err, ISO_EINVAL, "batch is not a number");
  ISO_TRY(iso_serve_capacity(u, prompt + output, share, &o->room, err));
  double most = o->room.seqs;
  if (batch > most || most < 1) {
    double want = batch > 0 ? batch : 1;
    return iso_fail(err, ISO_ENOMEM, "%g sequences of %g tokens take %.1f GB of cache on a device of %lld x %s, %.1f GB are free", want,
                    prompt + output, want / (double)u->layout.dp * o->room.kv_dev_b_per_seq / 1e9, (long long)u->devices, u->device.name,
                    o->room.free_b / 1e9);
  }
  if (batch <= 0) batch = most;
  iso_serve_step pre = {.prefill_tok = prompt, .prefill_ctx = prompt / 2}, dec = {.seqs = batch, .ctx = prompt + output / 2};
  iso_serve_work wp = iso_serve_work_of(u, &pre), wd = iso_serve_work_of(u, &dec);
  o->ttft_s = iso_serve_time_s(&wp, c);
  o->itl_s = iso_serve_time_s(&wd, c);
  o->ttft_floor_s = iso_serve_floor_s(&wp);
  o->itl_floor_s = iso_serve_floor_s(&wd);
  o->ttft_bound = iso_serve_bound(&wp, c);
  o->itl_bound = iso_serve_bound(&wd, c);
  o->switch_s = 2 * o->room.kv_dev_b_per_seq / u->device.host_b_s;
  o->output_s = o->ttft_s + output * o->itl_s;
  o->tok_per_s = batch / o->itl_s;
  o->prefill_j = o->ttft_s * u->device.prefill_w * (double)u->devices;
  o->decode_j_per_tok = o->itl_s * u->device.decode_w * (double)u->devices / batch;
  return ISO_OK;
}
