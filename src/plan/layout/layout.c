// Seconds of a training step in closed form: blocks, collectives, pipeline, data-parallel traffic, optimizer.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/layout/layout_impl.h"

#define CAL(x, name) ((x)->cal[ISO_LAYOUT_CAL_##name])

// Elementwise traffic of a block's forward pass in bytes per token, two-byte activations: two norms (read, write), two residual sums with
// dropout, around 22 h outside the tensor group; QKV and the MLP's activation inside; scores are written, scaled and masked, normalised,
// dropped and read again, 13 bytes each. The loss reads and writes fp32 logits some ten times.
enum { OUTSIDE_B = 22, QKV_B = 4, ACT_B = 4, GATED_ACT_B = 6, SCORE_B = 13, EXPERT_B = 8, LOGIT_B = 40, INT8_B = 1, RECODE_B = 3 };
#define INT4_B 0.5
// FLOPs of attention's backward pass over its forward pass; flash attention computes the scores again.
#define ATTN_BWD 2.0
#define FLASH_BWD 2.5
// Flash attention's rate over that of large matrix products: 0.6 to 0.73 of an A100's peak against some 0.85 (Dao 2023, arXiv:2307.08691).
#define FLASH_RATE 0.75
// Share of the peak that fp8 products reach over that of 16-bit ones: 1,185 of 1,979 TFLOP/s on average over a block of DeepSeek-V3 with 4,096
// tokens, by the table of DeepGEMM (github.com/deepseek-ai/DeepGEMM, H800), against some 0.8.
#define FP8_RATE 0.75
// Share of a device that moves tokens to experts and back while the rest computes: 20 of an H800's 132 SMs (arXiv:2412.19437, section 3.2.2).
#define MOVERS (20.0 / 132)
// The same for gathers and scatters: NCCL runs a channel on a multiprocessor, on a node of A100s 24 of 108 (logs in github.com/NVIDIA/nccl-tests,
// issue 100).
#define CHANNELS (24.0 / 108)

void iso_lay_open(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, iso_lay_ctx *out) {
  *out = (iso_lay_ctx){.job = j, .mach = m, .cal = c->v};
  iso_layout_count(&j->shape, &out->n);
  iso_lay_tables(out);
}

// A ring over `n` devices that are `stride` ranks apart moves (n-1)/n of `bytes` per sweep (one: gather or scatter; two: all-reduce), in
// n - 1 steps; an all-reduce between nodes goes by a tree of nodes. Rings that cross nodes share the node's adapters: one per rank that
// lies between two members. `calls` splits the bytes. What software adds to latencies (lat_mult) is added to a node's steps and a hop, once a call:
// the thousand further steps of a long ring follow by themselves.
static double ring(const iso_lay_ctx *x, double n, double stride, double bytes, double sweeps, double calls, iso_lay_raw *raw) {
  const iso_layout_machine *m = x->mach;
  if (n <= 1) return 0;
  double node = (double)m->per_node, moved = sweeps * bytes * (n - 1) / n, near = fmax(1, fmin(n, floor(node / stride)));
  double rest = 0, lat = (near - 1) * m->intra_lat_s, rate = m->intra_b_s * CAL(x, intra_eff);
  if (n * stride <= node) {
    double s;
    raw->intra += moved / m->intra_b_s;
    if (iso_lay_table_ring(x, n, bytes, sweeps, calls, &s)) {
      raw->table = true;
      return s;
    }
  } else {
    double full = m->inter_b_s * node / fmin(stride, node);
    double nodes = n / near;
    if (sweeps <= 1) rest = (n - nodes - near + 1) * m->intra_lat_s + (nodes - 1) * m->inter_lat_s;
    lat += (sweeps > 1 ? log2(fmax(2, nodes)) : 1) * m->inter_lat_s;
    rate = near > 1 ? fmin(rate, full * CAL(x, inter_eff)) : full * CAL(x, inter_eff);
    raw->inter += moved / full;
  }
  return moved / rate + calls * sweeps * (CAL(x, lat_mult) * lat + rest);
}

// All-to-all over `n` devices `stride` apart: every device sends (n-1)/n of `bytes` in `calls`, those outside the node over its own
// adapter.
static double all_to_all(const iso_lay_ctx *x, double n, double stride, double bytes, double calls, iso_lay_raw *raw) {
  const iso_layout_machine *m = x->mach;
  if (n <= 1) return 0;
  double near = fmax(1, fmin(n, floor((double)m->per_node / stride))), in = bytes * (near - 1) / n, out = bytes * (n - near) / n;
  raw->intra += in / m->intra_b_s;
  raw->inter += out / m->inter_b_s;
  return fmax(in / (m->intra_b_s * CAL(x, intra_eff)), out / (m->inter_b_s * CAL(x, inter_eff))) +
         calls * CAL(x, lat_mult) * (near < n ? m->inter_lat_s : m->intra_lat_s);
}

// The slower of two, softly: the p-norm is never below either.
static double slower(double a, double b, double sharp) {
  double hi = fmax(a, b), lo = fmin(a, b);
  return lo > 0 ? hi * pow(1 + pow(lo / hi, sharp), 1 / sharp) : hi;
}

// Tokens to experts and back, `bytes` a channel. When routing is limited to groups and a group of ranks spans nodes, a token crosses the
// network once per node and goes on from there to its experts' devices at the same time; else a copy per expert goes all the way.
static double exchange(const iso_lay_ctx *x, const iso_layout *l, double tok, double bytes, iso_lay_raw *raw) {
  const iso_layout_shape *s = &x->job->shape;
  const iso_layout_machine *m = x->mach;
  double e = (double)l->expert, t = (double)l->tensor, near = fmax(1, fmin(e, floor((double)m->per_node / t))), nodes = e / near;
  double one = bytes * tok * (double)s->width / (l->seq_parallel ? t : 1), used = (double)s->experts_used;
  if (!s->groups || near >= e) return all_to_all(x, e, t, used * one, 1, raw);
  double most = fmin(fmin(nodes, used), fmax(1, nodes / (double)s->groups) * (double)s->groups_used);
  double in = one * used * (near - 1) / near, out = one * most * (nodes - 1) / nodes;
  raw->intra += in / m->intra_b_s;
  raw->inter += out / m->inter_b_s;
  return fmax(in / (m->intra_b_s * CAL(x, intra_eff)), out / (m->inter_b_s * CAL(x, inter_eff))) +
         CAL(x, lat_mult) * (m->inter_lat_s + m->intra_lat_s);
}

static void head_cost(const iso_lay_ctx *x, double tok, double t, iso_lay_block *k) {
  const iso_layout_machine *m = x->mach;
  double heads = 1 + (double)x->job->shape.mtp;
  k->head_flop = heads * 3 * (double)x->n.head_flop_tok * tok / t;
  k->head_mem_b = heads * LOGIT_B * tok * (double)x->job->shape.vocab / t;
  double s = k->head_flop / (m->peak_flop_s * CAL(x, gemm_eff));
  if (iso_lay_table_head(x, tok, t, &s)) s *= heads;
  k->head = (1 + CAL(x, head_extra)) * (s + k->head_mem_b / (m->mem_b_s * CAL(x, mem_eff)));
}

// Collectives inside a block: seconds of one forward sweep each.
typedef struct sweeps {
  double tensor, context, expert;
  iso_lay_raw tensor_raw, context_raw, expert_raw;
} sweeps;

static void block_links(const iso_lay_ctx *x, const iso_layout *l, double tok, sweeps *o) {
  const iso_layout_shape *s = &x->job->shape;
  double t = (double)l->tensor, c = (double)l->context, w = (double)s->width;
  memset(o, 0, sizeof *o);
  // Two all-reduces, or a scatter and a gather each with sequence parallelism: the same bytes.
  o->tensor = 2 * ring(x, t, 1, 2 * tok * w, 2, 1, &o->tensor_raw);
  o->tensor_raw.intra *= 2;
  o->tensor_raw.inter *= 2;
  // Keys and values of the whole sequence, or the vectors that they are made of.
  double kv = s->kv_rank ? (double)(s->kv_rank + s->rope) / 2 : fmax(1, (double)s->kv_heads / t) * (double)s->head_dim;
  o->context = ring(x, c, t, 4 * tok * c * kv, 1, 1, &o->context_raw);
  if (l->expert > 1) o->expert = exchange(x, l, tok, x->job->fp8 ? 1 : 2, &o->expert_raw) + exchange(x, l, tok, 2, &o->expert_raw);
}

static void add_raw(iso_lay_raw *to, iso_lay_raw r, double times) {
  to->intra += times * r.intra;
  to->inter += times * r.inter;
  to->table |= r.table;
}

// Bytes a token of a block's forward pass.
static double elementwise_b(const iso_layout_job *j, const iso_layout *l, double used) {
  const iso_layout_shape *s = &j->shape;
  iso_layout_channels c = iso_layout_channels_of(s);
  double t = (double)l->tensor, w = (double)s->width, mlp = (double)s->mlp * (used + (double)s->shared);
  double latent = (double)c.latent, base = OUTSIDE_B * w / (l->seq_parallel ? t : 1);
  base += (QKV_B * (double)(c.q + c.k + c.v) + 2 * QKV_B * latent + (s->gated ? GATED_ACT_B : ACT_B) * mlp) / t;
  if (s->experts) base += EXPERT_B * w * used;
  // Each product's input is read once more and written as small numbers.
  if (j->fp8) base += RECODE_B * (w * (2 + (s->experts ? used : 0)) + ((double)c.out + latent + mlp) / t);
  return base;
}

void iso_lay_block_cost(const iso_lay_ctx *x, const iso_layout *l, iso_lay_block *k) {
  const iso_layout_job *j = x->job;
  const iso_layout_shape *s = &j->shape;
  const iso_layout_machine *m = x->mach;
  double t = (double)l->tensor, tok = (double)l->micro_batch * (double)s->seq / (double)l->context, w = (double)s->width;
  double q = (double)(s->heads * s->head_dim), used = s->experts ? (double)s->experts_used : 1;
  bool full = l->recompute == ISO_LAYOUT_FULL, latent_again = iso_lay_latent_again(j, l);
  bool scores_again = l->recompute != ISO_LAYOUT_KEEP && !(latent_again && j->flash);
  *k = (iso_lay_block){0};
  // FLOPs and bytes of a forward pass on this device.
  double mat = (double)x->n.layer_flop_tok * tok / t;
  double att = j->flash ? x->n.layer_attn_flop_seq * (double)l->micro_batch / ((double)l->context * t)
                        : 2 * (q + (double)iso_layout_channels_of(s).out) * (double)s->seq * tok / t;
  double read_b = j->weight_b * ((double)x->n.layer_dense + (double)x->n.layer_expert / (double)l->expert) / t;
  double base_b = tok * elementwise_b(j, l, used);
  double score_b = j->flash ? 0 : SCORE_B * (double)(s->heads * s->seq) * tok / t, bwd = j->flash ? FLASH_BWD : ATTN_BWD;
  // Device seconds: matrices at their rate or at that of reading the weights, then attention and elementwise work.
  double rate = m->peak_flop_s * CAL(x, gemm_eff), mem = m->mem_b_s * CAL(x, mem_eff), fix = CAL(x, kernel_s);
  double mat_peak = j->fp8 ? m->peak8_flop_s : m->peak_flop_s, up = latent_again ? 2 * (double)x->n.latent_matmul * tok / t : 0;
  double mat_s = fmax(mat / (mat_peak * CAL(x, gemm_eff) * (j->fp8 ? FP8_RATE : 1)), read_b / mem),
         att_s = att / (j->flash ? FLASH_RATE * rate : rate);
  iso_lay_mats p;
  if (!iso_lay_table_block(x, l, tok, &p)) p = (iso_lay_mats){mat_s, mat_s, mat_s};
  k->table_attention = iso_lay_table_attention(x, l, &att_s);
  double fwd_s = p.f + att_s + (base_b + score_b) / mem + fix;
  double again_s = full ? fwd_s : scores_again ? att_s + score_b / mem : 0;
  double norms_b = latent_again ? tok * 8 * w / (l->seq_parallel ? t : 1) : 0;  // both, read and written
  if (latent_again) again_s += p.f * up / mat + norms_b / mem;
  double bwd_s = p.b + bwd * att_s + 2 * (base_b + score_b) / mem + fix + again_s, wgt_s = p.w + fix;
  double passes = full ? 4 : 3;
  sweeps o;
  block_links(x, l, tok, &o);
  double hidden = fmin(o.context, att_s), ctx_f = o.context - hidden, ctx_n = passes, sw = full ? 3 : 2;  // backward: fetched, returned
  k->tensor = sw * o.tensor;
  k->context = ctx_n * ctx_f;
  k->expert = sw * o.expert;
  add_raw(&k->raw, o.tensor_raw, sw);
  add_raw(&k->raw, o.context_raw, ctx_n);
  add_raw(&k->raw, o.expert_raw, sw);
  k->gpu = fwd_s + bwd_s + wgt_s;
  double att_all = (1 + bwd + (scores_again ? 1 : 0)) * att, mat_all = (full ? 4 : 3) * mat + up;
  k->flop = mat_all + att_all;
  k->flop_s = mat_all / mat_peak + att_all / m->peak_flop_s;
  k->mem_b = passes * read_b + (full ? 4 : 3) * base_b + (scores_again ? 4 : 3) * score_b + norms_b;
  // Host: the device runs ahead of it or waits for it.
  double host = CAL(x, launch_s) + (l->tensor > 1 ? CAL(x, launch_tp_s) : 0);
  if (!j->flash && (l->micro_batch * s->heads / l->tensor) % 4) host += CAL(x, unfused_s);
  double dev = k->gpu + k->tensor + k->context + k->expert, all = slower(dev, passes * host, CAL(x, sharp)), grow = all / dev;
  k->launch = all - dev;
  k->free_bwd = (k->gpu + k->launch) * (bwd_s + wgt_s) / k->gpu;
  k->f = grow * (fwd_s + o.tensor + ctx_f + o.expert);
  k->w = grow * wgt_s;
  k->b = all - k->f - k->w;
  // What hides takes some of the device from what it hides behind.
  k->pair = fmax(k->expert, k->f + k->b + k->w - (1 - MOVERS) * k->expert);
  head_cost(x, tok, t, k);
  k->hop_b = 2 * tok * w / t;  // the tensor group sends a t-th each and gathers on the other side
}

// A stage's neighbour is in the same node when a whole stage fits beside another.
static void hop_link(const iso_lay_ctx *x, const iso_layout *l, iso_lay_data *d) {
  const iso_layout_machine *m = x->mach;
  d->hop_inter = l->tensor * l->context * l->data >= m->per_node;
  d->hop_raw_b_s = d->hop_inter ? m->inter_b_s : m->intra_b_s;
  d->hop_b_s = d->hop_raw_b_s * (d->hop_inter ? CAL(x, inter_eff) : CAL(x, intra_eff));
  d->hop_lat_s = CAL(x, lat_mult) * (d->hop_inter ? m->inter_lat_s : m->intra_lat_s);
}

// One kind of parameter: the ranks that share it, their distance, and how many neighbours of them a local split takes.
typedef struct shards {
  double n, stride, local, calls;
} shards;

static double among_all(const iso_lay_ctx *x, const shards *h, double bytes, double times, double calls, iso_lay_raw *raw) {
  return ring(x, h->n, h->stride, bytes, times, calls, raw);
}

static double among_local(const iso_lay_ctx *x, const shards *h, double bytes, double times, double calls, iso_lay_raw *raw) {
  return ring(x, h->local, h->stride, bytes, times, calls, raw);
}

// Between local groups, each rank with its counterparts for its own part.
static double across(const iso_lay_ctx *x, const shards *h, double bytes, double times, double calls, iso_lay_raw *raw) {
  return ring(x, h->n / h->local, h->stride * h->local, bytes / h->local, times, calls, raw);
}

// Memory time to make small numbers of `params` or big ones again: some 3 bytes read and written each.
static double recode_s(const iso_lay_ctx *x, double params) { return RECODE_B * params / (x->mach->mem_b_s * CAL(x, mem_eff)); }

// qgZ: int4 by one all-to-all inside the local group, added up, and one between groups, so that each node sends a quarter of the bytes of
// 16-bit gradients once.
static double int4_scatter(const iso_lay_ctx *x, const shards *h, double params, iso_lay_raw *raw) {
  double b = INT4_B * params;
  return all_to_all(x, h->local, h->stride, b, h->calls, raw) + all_to_all(x, h->n / h->local, h->stride * h->local, b / h->local, h->calls, raw) +
         recode_s(x, params);
}

// Gradients reach whoever keeps their optimizer state: per micro-batch where they are split, else once.
static void gradients(const iso_lay_ctx *x, const iso_layout *l, const shards *h, double params, double g, iso_lay_data *d) {
  bool states_local = l->states_over == ISO_LAYOUT_SPLIT_LOCAL;
  if (l->zero == 1) {
    d->once_s += states_local ? among_local(x, h, g, 1, 1, &d->once) + across(x, h, g, 2, 1, &d->once) : among_all(x, h, g, 1, 1, &d->once);
  } else if (l->grads_over == ISO_LAYOUT_SPLIT_LOCAL) {
    d->micro_s += among_local(x, h, g, 1, h->calls, &d->micro);
    d->once_s += across(x, h, g, states_local ? 2 : 1, 1, &d->once);
  } else if (l->quantised) {
    d->micro_s += int4_scatter(x, h, params, &d->micro);
  } else {
    d->micro_s += among_all(x, h, g, 1, h->calls, &d->micro);
  }
}

// Weights come back from there: once, or for the forward and the backward pass of every micro-batch.
static void weights(const iso_lay_ctx *x, const iso_layout *l, const shards *h, double params, double w, iso_lay_data *d) {
  double sent = l->quantised ? fmin(w, INT8_B * params) : w, recode = l->quantised ? recode_s(x, params) : 0;
  if (l->zero < 3) {
    d->once_s += l->states_over == ISO_LAYOUT_SPLIT_LOCAL ? among_local(x, h, w, 1, 1, &d->once) : among_all(x, h, w, 1, 1, &d->once);
  } else if (l->weights_over == ISO_LAYOUT_SPLIT_LOCAL) {
    for (int pass = 0; pass < 2; pass++) d->micro_s += among_local(x, h, w, 1, h->calls, &d->micro);
    if (l->states_over == ISO_LAYOUT_SPLIT_ALL) d->once_s += across(x, h, sent, 1, 1, &d->once) + recode / h->local;
  } else {
    int far = l->weights_over == ISO_LAYOUT_SPLIT_HPZ ? 1 : 2;
    for (int pass = 0; pass < far; pass++) d->micro_s += among_all(x, h, sent, 1, h->calls, &d->micro) + recode;
    if (far < 2) d->micro_s += among_local(x, h, w, 1, h->calls, &d->micro);
  }
}

void iso_lay_data_cost(const iso_lay_ctx *x, const iso_layout *l, iso_lay_data *d) {
  const iso_layout_job *j = x->job;
  const iso_layout_machine *m = x->mach;
  memset(d, 0, sizeof *d);
  iso_lay_static(j, &x->n, l, d);
  double t = (double)l->tensor, e = (double)l->expert, group = (double)(l->data * l->context);
  group *= iso_lay_copies(l);
  double part[2], n[2] = {group, group / e}, stride[2] = {t, t * e}, blocks = (double)iso_layout_stage_layers(&j->shape, l, NULL);
  iso_lay_stage_params(j, &x->n, l, &part[0], &part[1]);
  for (int i = 0; i < 2; i++) {
    double g = part[i] * j->grad_comm_b, w = part[i] * j->weight_b;
    if (!(part[i] > 0)) continue;
    if (l->zero == 0) {
      d->once_s += ring(x, n[i], stride[i], g, 2, 1, &d->once);
      continue;
    }
    shards h = {.n = n[i], .stride = stride[i], .local = iso_lay_local(l, i ? e : 1), .calls = l->zero == 3 ? blocks : 1};
    gradients(x, l, &h, part[i], g, d);
    weights(x, l, &h, part[i], w, d);
  }
  // First and last stage hold a copy of a tied embedding each and add their gradients; the ends of a V, or of two directions, are together.
  if (j->shape.tied && l->pipeline > 1 && !iso_layout_sched_v(l->schedule) && l->schedule != ISO_LAYOUT_DUALPIPE)
    d->once_s += ring(x, 2, t * (double)(l->context * l->data), (double)(j->shape.vocab * j->shape.width) / t * j->grad_comm_b, 2, 1, &d->once);
  double own = part[0] / iso_lay_ways(l, 1, l->states_over, 1) + part[1] / iso_lay_ways(l, 1, l->states_over, e);
  double update_b = 2 * j->optim_b + j->grad_b + j->weight_b;  // state read and written, the gradient read, the weight written
  if (l->offload) {
    d->offload_s = own * ((j->grad_comm_b + j->weight_b) / m->host_b_s + update_b / m->host_mem_b_s);
  } else {
    d->optim_mem_b = update_b * own;
    d->optim_s = d->optim_mem_b / (m->mem_b_s * CAL(x, optim_eff));
  }
  hop_link(x, l, d);
  d->straggle = CAL(x, jitter) * sqrt(2 * log((double)iso_layout_devices(l)));
}

// Blocks whose place the head takes, and where both ends of the model are on one device the embedding.
static double places(const iso_layout *l, int spare) {
  return iso_layout_sched_v(l->schedule) || l->schedule == ISO_LAYOUT_DUALPIPE ? spare : spare > 0;
}

// What the busiest device works. Returns its blocks.
static double work_parts(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, iso_lay_parts *o) {
  int spare;
  double per = (double)iso_layout_stage_layers(&x->job->shape, l, &spare), m = (double)iso_layout_micro_batches(x->job, l), work = m * per;
  bool dual = l->schedule == ISO_LAYOUT_DUALPIPE;
  double less = places(l, spare);
  o->compute = work * k->gpu;
  o->launch = work * k->launch;
  o->head = m * fmax(0, k->head - less * (k->f + k->b + k->w));
  // Two thirds of the head go with one direction's pairs and a third with the other's, and the pairs' beats are those of the slowest device.
  if (dual) o->head = (m - (double)l->pipeline) / 2 * (fmax(0, 2 * k->head / 3 - less / 2 * k->pair) + fmax(0, k->head / 3 - less / 2 * k->pair));
  o->tensor = work * k->tensor;
  o->context = work * k->context;
  o->expert = work * k->expert;
  return per;
}

// What ZeRO-3's `traffic` seconds of a step's gathers and scatters add to the `span` of its passes: they are issued ahead and hide behind other
// blocks' passes, of which they take a part, but have to pass; one block of `per`, in one of m micro-batches, has nothing before or after it.
static double prefetched(double traffic, double span, double m, double per) {
  return fmax(traffic / (m * per), fmax(traffic - span, CHANNELS * fmin(traffic, span)));
}

// All that follows from work and waits.
static void finish(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, iso_lay_parts *o) {
  const iso_layout_machine *mc = x->mach;
  int64_t p = l->pipeline;
  int spare;
  double per = (double)iso_layout_stage_layers(&x->job->shape, l, &spare), m = (double)iso_layout_micro_batches(x->job, l), work = m * per;
  bool dual = l->schedule == ISO_LAYOUT_DUALPIPE;
  double less = places(l, spare);
  double hide = CAL(x, overlap);
  double span = o->compute + o->launch + o->head + o->tensor + o->context + o->expert + o->bubble + o->p2p, traffic = m * d->micro_s;
  o->data = fmax(0, d->once_s - hide * per * k->free_bwd);
  o->data += l->zero < 3 ? fmax(0, traffic - hide * work * (k->gpu + k->launch)) : prefetched(traffic, span, m, per);
  o->optim = d->optim_s;
  o->offload = d->offload_s;
  o->fixed = CAL(x, fixed_s);
  double sum = span + o->data + o->optim + o->offload + o->fixed;
  o->straggler = d->straggle * sum;
  sum += o->straggler;
  // Rooflines. A device in the middle sends 2 m messages per chunk, half of them each way.
  double hops = p > 1 ? (double)l->chunks * m * k->hop_b / d->hop_raw_b_s * (p > 2 ? 2 : 1) : 0;
  o->flop_roof = work * k->flop_s + (dual ? m / 2 : m) * fmax(0, k->head_flop / mc->peak_flop_s - less * k->flop_s);
  o->mem_roof = (work * k->mem_b + (dual ? m / 2 : m) * fmax(0, k->head_mem_b - less * k->mem_b) + d->optim_mem_b) / mc->mem_b_s;
  o->intra_roof = work * k->raw.intra + d->once.intra + m * d->micro.intra + (d->hop_inter ? 0 : hops);
  o->inter_roof = work * k->raw.inter + d->once.inter + m * d->micro.inter + (d->hop_inter ? hops : 0);
  o->roof = fmax(fmax(o->flop_roof, o->mem_roof), fmax(o->intra_roof, o->inter_roof));
  // Traffic that hides behind the same work, or fills a link between stages, still has to pass.
  o->contention = fmax(0, o->roof - sum);
  o->total = sum + o->contention;
}

void iso_lay_combine(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, iso_lay_parts *o) {
  int64_t p = l->pipeline, mi = iso_layout_micro_batches(x->job, l);
  double per = work_parts(x, l, k, o), f = per * k->f, b = per * k->b, w = per * k->w;
  bool closed = p > 1 && l->schedule != ISO_LAYOUT_V_ADAPTIVE;
  int spare;
  (void)iso_layout_stage_layers(&x->job->shape, l, &spare);
  o->bubble = closed ? iso_layout_bubble(l->schedule, p, mi, l->chunks, f, b, w) : 0;
  if (closed && spare && l->schedule <= ISO_LAYOUT_1F1B) o->bubble = iso_lay_bubble_uneven(l->schedule, p, mi, per, spare, k);
  if (l->schedule == ISO_LAYOUT_DUALPIPE) {
    o->bubble = iso_layout_bubble_dual(p, per * k->pair, b, w);
    o->expert -= (double)(mi - p) * per * (k->f + k->b + k->w - k->pair);  // hidden by the other direction's pass
  }
  if (closed && iso_layout_sched_v(l->schedule)) o->bubble = iso_lay_bubble_ends(l->schedule, p, mi, f, b, w, o->head);
  o->p2p = closed ? iso_layout_hops_s(l->schedule, p, mi, l->chunks, f, b, w, d->hop_lat_s + k->hop_b / d->hop_b_s) : 0;
  finish(x, l, k, d, o);
}

void iso_lay_combine_replayed(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, double span_s, double still_s,
                              iso_lay_parts *o) {
  (void)work_parts(x, l, k, o);
  double wait = fmax(0, span_s - (o->compute + o->launch + o->head + o->tensor + o->context + o->expert));
  o->p2p = fmin(wait, fmax(0, span_s - still_s));
  o->bubble = wait - o->p2p;
  finish(x, l, k, d, o);
}

// Idle power all the time, the rest while the device computes.
double iso_lay_joule(const iso_lay_ctx *x, int64_t devices, const iso_lay_parts *p) {
  const iso_layout_machine *m = x->mach;
  double busy = fmin(p->total, p->compute + p->head + p->optim);
  return (double)devices * m->pue * (m->idle_w * p->total + (m->max_w - m->idle_w) * busy);
}

double iso_lay_usd(const iso_lay_ctx *x, int64_t devices, const iso_lay_parts *p) { return (double)devices * p->total * x->mach->usd_h / 3600; }

static void name_bound(const iso_lay_parts *p, iso_layout_step *o) {
  const struct {
    const char *name;
    double s;
  } part[] = {{"device arithmetic and memory", p->compute + p->head + p->optim},
              {"host launches", p->launch},
              {"tensor-parallel links", p->tensor},
              {"context-parallel links", p->context},
              {"expert-parallel links", p->expert},
              {"pipeline bubble", p->bubble},
              {"stage-to-stage links", p->p2p},
              {"data-parallel links", p->data},
              {"links at their limit", p->contention},
              {"host memory and link", p->offload}};
  o->bound = part[0].name;
  double most = part[0].s;
  for (size_t i = 1; i < ISO_COUNT(part); i++) {
    if (part[i].s > most) {
      most = part[i].s;
      o->bound = part[i].name;
    }
  }
}

static iso_status replayed(const iso_lay_ctx *x, const iso_layout *l, const iso_lay_block *k, const iso_lay_data *d, iso_lay_parts *o, iso_err *err) {
  iso_layout_pipe pipe;
  double *times, span, still;
  ISO_TRY(iso_lay_pipe(x, l, k, d, &times, &pipe, err));
  iso_status st = iso_lay_replay(&pipe, &span, &still, err);
  free(times);
  if (st == ISO_OK) iso_lay_combine_replayed(x, l, k, d, span, still, o);
  return st;
}

iso_status iso_layout_step_cost(const iso_layout_job *j, const iso_layout_machine *m, const iso_layout_cal *c, const iso_layout *l,
                                iso_layout_step *out, iso_err *err) {
  iso_lay_ctx x;
  iso_lay_block k;
  iso_lay_data d;
  iso_lay_parts p;
  ISO_TRY(iso_layout_shape_check(&j->shape, err));
  ISO_TRY(iso_layout_machine_check(m, err));
  ISO_TRY(iso_layout_cal_check(c, err));
  ISO_TRY(iso_layout_check(j, l, err));
  ISO_TRY(iso_lay_fp8(j, m, err));
  iso_lay_open(j, m, c, &x);
  iso_lay_block_cost(&x, l, &k);
  iso_lay_data_cost(&x, l, &d);
  if (l->schedule == ISO_LAYOUT_V_ADAPTIVE)
    ISO_TRY(replayed(&x, l, &k, &d, &p, err));
  else
    iso_lay_combine(&x, l, &k, &d, &p);
  iso_layout_step o = {.devices = iso_layout_devices(l), .micro_batches = iso_layout_micro_batches(j, l)};
  o.compute_s = p.compute;
  o.launch_s = p.launch;
  o.head_s = p.head;
  o.tensor_s = p.tensor;
  o.context_s = p.context;
  o.expert_s = p.expert;
  o.bubble_s = p.bubble;
  o.p2p_s = p.p2p;
  o.data_s = p.data;
  o.optim_s = p.optim;
  o.offload_s = p.offload;
  o.straggler_s = p.straggler;
  o.contention_s = p.contention;
  o.fixed_s = p.fixed;
  o.step_s = p.total;
  double n = (double)o.devices, peak = n * m->peak_flop_s, batch = (double)j->batch, spread = exp(1.6448536269514722 * c->resid_sd);
  o.lo_s = spread == spread ? fmax(p.roof, p.total / spread) : NAN;
  o.hi_s = p.total * spread;
  o.tok_s = batch * (double)j->shape.seq / p.total;
  o.model_flop = iso_layout_model_flop(&j->shape, batch, ISO_LAYOUT_ATTN_CAUSAL);
  o.model_flop_full = iso_layout_model_flop(&j->shape, batch, ISO_LAYOUT_ATTN_FULL);
  double copies = (double)(l->data * o.micro_batches * l->tensor * l->context);
  o.exec_flop = copies * ((double)(j->shape.layers + j->shape.mtp) * k.flop + k.head_flop);
  o.mfu = o.model_flop / (peak * p.total);
  o.mfu_full = o.model_flop_full / (peak * p.total);
  o.hfu = o.exec_flop / (peak * p.total);
  o.flop_roof_s = p.flop_roof;
  o.mem_roof_s = p.mem_roof;
  o.intra_roof_s = p.intra_roof;
  o.inter_roof_s = p.inter_roof;
  o.roofline_s = p.roof;
  o.usd = iso_lay_usd(&x, o.devices, &p);
  o.joule = iso_lay_joule(&x, o.devices, &p);
  o.table_matrices = x.gemm;
  o.table_attention = k.table_attention;
  o.table_links = k.raw.table || d.once.table || d.micro.table;
  name_bound(&p, &o);
  if (!(o.step_s > 0 && o.step_s < INFINITY))
    return iso_fail(err, ISO_ENUM, "layout: a step of %g seconds; the machine's numbers make no sense", o.step_s);
  *out = o;
  return ISO_OK;
}
