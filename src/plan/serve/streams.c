// Costs of parallel streams by the serving roofline.
#include "plan/serve/streams.h"

#include <math.h>

// Weights of the two layers that weigh the outputs, without their biases.
static double weighing(const iso_serve_shape *s, double streams) { return streams * (double)s->width * (double)(s->width + 1); }

iso_status iso_serve_streams_params(const iso_serve_shape *s, double streams, double prefix_tok, double *out, iso_err *err) {
  *out = 0;
  if (s->kv_rank || s->linear_layers || s->experts)
    return iso_fail(err, ISO_EUNSUP, "parallel streams of %s: known for dense models with keys and values per head alone", s->name);
  if (!(streams >= 1 && streams <= 1e6 && prefix_tok >= 0 && prefix_tok <= 1e6))
    return iso_fail(err, ISO_EINVAL, "parallel streams: %g streams with prefixes of %g tokens", streams, prefix_tok);
  if (streams > 1)
    *out = weighing(s, streams) + (double)s->width + streams + streams * (double)s->layers * 2 * (double)(s->kv_heads * s->head_dim) * prefix_tok;
  return ISO_OK;
}

// One pass over the batch, or over a prompt. Streams multiply its tokens everywhere but in the head, which the roofline counts in decoding.
static iso_serve_work work_of(const iso_serve_setup *u, const iso_serve_step *one, double streams, double prefix_tok) {
  bool many = streams > 1;
  double extra = many ? prefix_tok : 0, rate = iso_serve_device_peak(&u->device, u->format.bits), tp = (double)u->layout.tp;
  iso_serve_step p = {one->seqs * streams, one->ctx + extra, one->prefill_tok * streams, one->prefill_ctx + extra};
  iso_serve_work w = iso_serve_work_of(u, &p);
  if (!many) return w;
  double per_rank = one->seqs / (double)u->layout.dp, weigh = weighing(&u->shape, streams);
  w.flop_s += 2 * per_rank * (weigh - (streams - 1) * u->n.head) / tp / rate;
  w.prefill_flop_s += 2 * one->prefill_tok * weigh / tp / rate;
  w.prefill_s += 2 * one->prefill_tok * weigh / tp / rate;
  w.weight_b += weigh * u->format.weight_b / tp;
  w.mem_s += weigh * u->format.weight_b / tp / u->device.mem_b_s;
  return w;
}

iso_status iso_serve_streams_cost(const iso_serve_setup *u, const iso_serve_coef *c, double streams, double prefix_tok, double prompt, double output,
                                  double batch, iso_streams_cost *o, iso_err *err) {
  iso_serve_room room;
  iso_serve_setup roomy = *u;
  *o = (iso_streams_cost){0};
  if (!(prompt >= 1 && prompt < 1e9 && output >= 1 && output < 1e9 && batch >= 1 && batch < 1e9))
    return iso_fail(err, ISO_EINVAL, "parallel streams: %g requests of %g prompt and %g output tokens, expected at least 1", batch, prompt, output);
  ISO_TRY(iso_serve_streams_params(&u->shape, streams, prefix_tok, &o->extra_params, err));
  roomy.device.mem_b = 1e18;
  ISO_TRY(iso_serve_capacity(&roomy, prompt + output + (streams > 1 ? prefix_tok : 0), 1, &room, err));
  o->weight_b = u->weight_b + o->extra_params * u->format.weight_b / (double)u->layout.tp;
  o->cache_b = ceil(batch / (double)u->layout.dp) * streams * room.kv_dev_b_per_seq;
  iso_serve_step pre = {.prefill_tok = prompt, .prefill_ctx = prompt / 2}, dec = {.seqs = batch, .ctx = prompt + output / 2};
  iso_serve_work wp = work_of(u, &pre, streams, prefix_tok), wd = work_of(u, &dec, streams, prefix_tok);
  o->ttft_s = iso_serve_time_s(&wp, c);
  o->itl_s = iso_serve_time_s(&wd, c);
  o->ttft_floor_s = iso_serve_floor_s(&wp);
  o->itl_floor_s = iso_serve_floor_s(&wd);
  o->ttft_bound = iso_serve_bound(&wp, c);
  o->itl_bound = iso_serve_bound(&wd, c);
  o->request_s = o->ttft_s + output * o->itl_s;
  return ISO_OK;
}
