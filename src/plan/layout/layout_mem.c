// Memory per device: weights, gradients, optimizer state, and activations after Korthikanti et al. 2022 (arXiv:2205.05198).
#include <math.h>

#include "plan/layout/layout_impl.h"

// Kept per block and micro-batch, split as in the paper's table 2: s b h (10 + 24/t) + 5 a s^2 b / t for a GPT block with dropout.
// Two-byte activations, with fp8 products one byte for what only they read; one-byte masks: norms' inputs 4h, inputs of QKV and MLP 4h, masks 2h;
// inside the tensor group QKV and the attention's output 2(q + 2kv) + 2q, the MLP's hidden activations 4F (gated: 6F); scores 2, their mask 1 and the
// product 2 bytes.
static void block_bytes(const iso_layout_job *j, const iso_layout *l, double *base, double *scores) {
  const iso_layout_shape *s = &j->shape;
  iso_layout_channels c = iso_layout_channels_of(s);
  double t = (double)l->tensor, tok = (double)l->micro_batch * (double)s->seq / (double)l->context, w = (double)s->width;
  double used = s->experts ? (double)s->experts_used : 1, mlp = (double)s->mlp * (used + (double)s->shared), in = j->fp8 ? 1 : 2;
  bool again = iso_lay_latent_again(j, l);
  // What norms put out, and queries, keys, values and the MLP's product come back from what went in (arXiv:2412.19437, section 3.2.3); experts'
  // results are not needed when the gate weighs that product.
  double outside = 4 * w + (again ? 0 : 2 * in * w) + (j->dropout ? 2 * w : 0);
  outside +=
      (2 + (again ? 0 : in)) * (double)c.latent + (s->experts ? (again ? in : in + 2) * w * used : 0);  // experts: tokens sorted there and back
  double inside = (again ? 0 : 2 * (double)(c.q + c.k + c.v)) + 2 * (double)c.out + (s->gated && !again ? 3 : 2) * in * mlp;
  *base = tok * (outside / (l->seq_parallel ? t : 1) + inside / t);
  *scores = tok * (double)s->heads / t * (j->flash ? 4 : (j->dropout ? 5 : 2) * (double)s->seq);  // flash: one fp32 log-sum per row
}

bool iso_lay_latent_again(const iso_layout_job *j, const iso_layout *l) { return j->shape.kv_rank && l->recompute == ISO_LAYOUT_SELECTIVE; }

double iso_layout_act_layer_b(const iso_layout_job *j, const iso_layout *l) {
  double base, scores;
  if (l->recompute == ISO_LAYOUT_FULL)  // the block's input alone
    return 2 * (double)j->shape.width * (double)l->micro_batch * (double)j->shape.seq / (double)l->context /
           (l->seq_parallel ? (double)l->tensor : 1);
  block_bytes(j, l, &base, &scores);
  return base + (l->recompute == ISO_LAYOUT_SELECTIVE && !j->flash ? 0 : scores);  // flash attention's sums stay in any case
}

double iso_layout_in_flight(const iso_layout *l, int64_t micro_batches) {
  double p = (double)l->pipeline, m = (double)micro_batches, v = (double)l->chunks;
  switch (l->schedule) {
    case ISO_LAYOUT_GPIPE: return m;
    case ISO_LAYOUT_INTERLEAVED: return fmin(m, p + (p - 1) / v);
    case ISO_LAYOUT_ZB_H2: return fmin(m, 2 * p - 1);
    case ISO_LAYOUT_DUALPIPE: return fmin(m, p + 1);
    case ISO_LAYOUT_V_HALF: return fmin(m, floor((p + 2) / 2));
    case ISO_LAYOUT_V_MIN: return fmin(m, floor((p + 4) / 3));
    case ISO_LAYOUT_V_ADAPTIVE: return fmin(m, (double)l->weave.held / 2);
    default: return fmin(m, p);
  }
}

// The same for device i, of schedules that are not folded.
static double in_flight_at(const iso_layout *l, int64_t micro_batches, int64_t i) {
  double p = (double)l->pipeline, m = (double)micro_batches, v = (double)l->chunks;
  switch (l->schedule) {
    case ISO_LAYOUT_INTERLEAVED: return m > p ? p + (p - 1 - 2 * (double)i) / v : m;  // a single turn of p goes forward whole
    case ISO_LAYOUT_1F1B: return fmin(m, p - (double)i);
    default: return iso_layout_in_flight(l, micro_batches);
  }
}

// Blocks times micro-batches that device i holds activations of. A short stage lacks a block for each that it holds itself; of interleaved ones the
// first always holds 2p - 1, and the last none when its device holds most.
static double held_blocks(const iso_layout *l, int64_t micro_batches, int64_t i, double blocks, int spare) {
  double n = in_flight_at(l, micro_batches, i), p = (double)l->pipeline, lack = n;
  bool end = i == l->pipeline - 1;
  if (!(end && spare) && i >= spare - 1) return n * blocks;
  if (l->schedule == ISO_LAYOUT_INTERLEAVED) lack = micro_batches <= l->pipeline ? p : end ? 0 : 2 * p - 1;
  return n * blocks - lack;
}

void iso_lay_act(const iso_layout_job *j, const iso_layout *l, double *act_b, double *work_b) {
  double base, scores, one = iso_layout_act_layer_b(j, l);
  int spare;
  double blocks = (double)iso_layout_stage_layers(&j->shape, l, &spare);
  int64_t m = iso_layout_micro_batches(j, l);
  block_bytes(j, l, &base, &scores);
  double again = l->recompute == ISO_LAYOUT_FULL ? base + scores : l->recompute == ISO_LAYOUT_SELECTIVE ? scores : 0;
  if (iso_lay_latent_again(j, l)) {
    iso_layout keep = *l;
    double all;
    keep.recompute = ISO_LAYOUT_KEEP;
    block_bytes(j, &keep, &all, &scores);
    again = all - base + (j->flash ? 0 : scores);
  }
  // fp32 logits and their two-byte gradient
  double logits = 6 * (double)l->micro_batch * (double)j->shape.seq / (double)l->context * (double)j->shape.vocab / (double)l->tensor;
  double n = iso_layout_in_flight(l, m), first = n * blocks, last = first;
  if (iso_layout_sched_v(l->schedule)) {
    last = n * (blocks - (spare == 2 ? 2 : 0));  // both ends are on the first device: nearly all that it holds is of the first chunk
  } else if (l->schedule == ISO_LAYOUT_DUALPIPE) {
    last = n * (blocks - spare / 2.0);  // of each stage of a device half as many
  } else {
    first = held_blocks(l, m, 0, blocks, spare);
    if (spare >= 2 && l->pipeline > 2) first = fmax(first, held_blocks(l, m, spare - 1, blocks, spare));  // the first full stage
    last = held_blocks(l, m, l->pipeline - 1, blocks, spare);
  }
  first *= one;
  last *= one;
  if (l->pipeline == 1 || last + logits >= first) {
    *act_b = last;
    *work_b = again + logits;
  } else {
    *act_b = first;
    *work_b = again;
  }
}

double iso_lay_copies(const iso_layout *l) { return l->schedule == ISO_LAYOUT_DUALPIPE ? 2 : 1; }

// A device with the first of its stages' blocks, which have one MLP each, and the last ones when `ends`.
static void with_first(const iso_layout_job *j, const iso_layout_counts *n, const iso_layout *l, double blocks, bool ends, double mtp, double *dense,
                       double *expert) {
  double first = fmin((double)j->shape.dense_layers, blocks / (double)l->chunks / iso_lay_copies(l)), rest = blocks - first;
  double d = first * (double)n->first_dense + rest * (double)n->layer_dense + (double)n->embed;
  double e = rest * (double)n->layer_expert, cut = (double)l->expert;
  if (ends) d += (double)(n->head + n->norm) + mtp;
  if (l->pipeline > 1 && d + e / cut < *dense + *expert / cut) return;
  *dense = d;
  *expert = e;
}

void iso_lay_stage_params(const iso_layout_job *j, const iso_layout_counts *n, const iso_layout *l, double *dense, double *expert) {
  int spare;
  double copies = iso_lay_copies(l), per = copies * (double)iso_layout_stage_layers(&j->shape, l, &spare), block = (double)n->layer_dense;
  double norm = (double)n->norm, mtp = (double)j->shape.mtp * (double)(2 * j->shape.width * j->shape.width + 2 * n->norm);
  double head = (double)(j->shape.vocab * j->shape.width) + norm + mtp, both = (double)(n->embed + n->head) + norm + mtp;
  bool fold = iso_layout_sched_v(l->schedule) || copies > 1;  // both ends are on the first device
  double most = per * block + both;
  if (fold) most -= spare * block;
  if (l->pipeline > 1 && !fold) most = fmax((per - (spare >= 2)) * block + (double)n->embed, (per - (spare > 0)) * block + head);
  if (l->pipeline > 2 || fold) most = fmax(most, per * block);
  *dense = most;
  *expert = (double)n->layer_expert * per;
  if (j->shape.dense_layers) with_first(j, n, l, per - (fold ? spare : l->pipeline > 1 && spare >= 2), fold || l->pipeline == 1, mtp, dense, expert);
  *dense /= (double)l->tensor;
  *expert /= (double)(l->tensor * l->expert);
}

double iso_lay_local(const iso_layout *l, double expert) { return l->local ? fmax(1, (double)l->local / expert) : 1; }

double iso_lay_ways(const iso_layout *l, int from, iso_layout_split over, double expert) {
  if (l->zero < from) return 1;
  return over == ISO_LAYOUT_SPLIT_LOCAL ? iso_lay_local(l, expert) : iso_lay_copies(l) * (double)(l->data * l->context) / expert;
}

// Weights on a device; with hpZ its part of the local copy too, unless that is the part it has.
static double weights_held(const iso_layout *l, double params, double expert) {
  double ways = iso_lay_ways(l, 3, l->weights_over, expert), local = iso_lay_local(l, expert);
  return params / ways + (l->weights_over == ISO_LAYOUT_SPLIT_HPZ && local < ways ? params / local : 0);
}

void iso_lay_static(const iso_layout_job *j, const iso_layout_counts *n, const iso_layout *l, iso_lay_data *out) {
  double t = (double)l->tensor, e = (double)l->expert, dense, expert;
  iso_lay_stage_params(j, n, l, &dense, &expert);
  out->weights_b = j->weight_b * (weights_held(l, dense, 1) + weights_held(l, expert, e));
  out->grads_b = j->grad_b * (dense / iso_lay_ways(l, 2, l->grads_over, 1) + expert / iso_lay_ways(l, 2, l->grads_over, e));
  double state = j->optim_b * (dense / iso_lay_ways(l, 1, l->states_over, 1) + expert / iso_lay_ways(l, 1, l->states_over, e));
  out->optim_b = l->offload ? 0 : state;
  out->host_b = l->offload ? state : 0;
  // The block that works and the one that is fetched.
  out->gather_b = l->zero >= 3 ? 2 * j->weight_b * ((double)n->layer_dense + (double)n->layer_expert / (double)l->expert) / t : 0;
}

void iso_layout_memory(const iso_layout_job *j, const iso_layout *l, iso_layout_mem *out) {
  iso_layout_counts n;
  iso_lay_data d;
  iso_layout_count(&j->shape, &n);
  iso_lay_static(j, &n, l, &d);
  *out = (iso_layout_mem){.weights_b = d.weights_b, .grads_b = d.grads_b, .optim_b = d.optim_b, .host_b = d.host_b};
  iso_lay_act(j, l, &out->act_b, &out->work_b);
  out->work_b += d.gather_b;
  out->total_b = out->weights_b + out->grads_b + out->optim_b + out->act_b + out->work_b;
}

iso_status iso_layout_fits(const iso_layout_machine *m, const iso_layout_mem *k, iso_err *err) {
  const char *name[] = {"weights", "gradients", "optimizer state", "activations", "working space"};
  double part[] = {k->weights_b, k->grads_b, k->optim_b, k->act_b, k->work_b};
  int most = 0;
  for (int i = 1; i < (int)ISO_COUNT(part); i++)
    if (part[i] > part[most]) most = i;
  if (!(k->total_b <= m->mem_b)) {
    iso_fail(err, ISO_ENOMEM,
             "layout: a device needs %.0f bytes (%.2f GiB) and has %.0f (%.2f GiB); %s take %.0f (weights %.2f GiB, gradients %.2f, optimizer state "
             "%.2f, activations %.2f, working space %.2f)",
             k->total_b, k->total_b / 0x1p30, m->mem_b, m->mem_b / 0x1p30, name[most], part[most], part[0] / 0x1p30, part[1] / 0x1p30,
             part[2] / 0x1p30, part[3] / 0x1p30, part[4] / 0x1p30);
    return iso_hint(err, ISO_ENOMEM, "%s",
                    most == 3   ? "recompute activations, take smaller micro-batches or more tensor and context parallelism"
                    : most == 4 ? "take smaller micro-batches or more tensor parallelism"
                                : "split more: tensor, pipeline, or ZeRO over the data-parallel group");
  }
  if (!(k->host_b <= m->host_mem_b) && k->host_b > 0)
    return iso_fail(err, ISO_ENOMEM, "layout: a device's share of the host needs %.0f bytes for optimizer state and has %.0f", k->host_b,
                    m->host_mem_b);
  return ISO_OK;
}

json_t *iso_layout_mem_json(const iso_layout_mem *m) {
  return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "weights_bytes", iso_json_num(m->weights_b), "gradients_bytes", iso_json_num(m->grads_b),
                   "optimizer_bytes", iso_json_num(m->optim_b), "activations_bytes", iso_json_num(m->act_b), "working_bytes", iso_json_num(m->work_b),
                   "total_bytes", iso_json_num(m->total_b), "host_bytes", iso_json_num(m->host_b));
}
