// Batch size, energy, offloaded experts and long outputs, by the roofline.
#include "plan/serve/advisor.h"

#include <math.h>
#include <string.h>

static double itl_at(const iso_serve_setup *u, const iso_serve_coef *c, double batch, double ctx) {
  iso_serve_step p = {.seqs = batch, .ctx = ctx};
  return iso_serve_step_s(u, c, &p);
}

iso_status iso_serve_advise(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double slo_itl_s, double eps,
                            double share, iso_batch_advice *o, iso_err *err) {
  iso_serve_room room;
  memset(o, 0, sizeof *o);
  if (!(eps > 0 && eps <= 1)) return iso_fail(err, ISO_EINVAL, "advisor: eps %g, expected a number in (0, 1]", eps);
  if (!(prompt >= 1 && output >= 1)) return iso_fail(err, ISO_EINVAL, "advisor: %g and %g tokens, expected at least 1", prompt, output);
  ISO_TRY(iso_serve_capacity(u, prompt + output, share, &room, err));
  if (room.seqs < 1)
    return iso_fail(err, ISO_ENOMEM, "advisor: one sequence of %g tokens takes %.1f GB of a device, %.1f GB are free", prompt + output,
                    room.kv_dev_b_per_seq / 1e9, room.free_b / 1e9);
  double ctx = prompt + output / 2, one = itl_at(u, c, 1, ctx);
  if (one > slo_itl_s) return iso_fail(err, ISO_EINVAL, "advisor: one sequence alone takes %.3g s a token, the limit is %.3g s", one, slo_itl_s);
  for (double b = 1; b <= room.seqs; b = fmin(fmax(b + 1, floor(b * 1.02)), b < room.seqs ? room.seqs : INFINITY)) {
    double itl = itl_at(u, c, b, ctx), rate = b / itl;
    if (rate > o->peak_tok_per_s) {
      o->peak_tok_per_s = rate;
      o->peak_batch = b;
    }
    if (itl > slo_itl_s || rate < eps * b / one || rate <= o->tok_per_s) continue;
    o->batch = b;
    o->itl_s = itl;
    o->tok_per_s = rate;
  }
  o->of_peak = o->tok_per_s / o->peak_tok_per_s;
  o->kv_share = o->batch / room.seqs;
  double each = room.weight_b + o->batch / (double)u->layout.dp * room.kv_dev_b_per_seq;
  o->replicas = floor(u->device.mem_b * share / each);
  return ISO_OK;
}

iso_status iso_serve_energy(const iso_serve_shape *s, const iso_serve_device *d, const iso_serve_format *f, const iso_serve_coef *c, double prompt,
                            double output, double slo_itl_s, double share, iso_energy_point *out, int *n, int *best, iso_err *err) {
  iso_status st = ISO_ENOMEM;
  *n = 0;
  *best = -1;
  for (int64_t devices = 1; devices <= d->node && *n < ISO_ENERGY_POINTS_MAX; devices *= 2) {
    iso_serve_setup u;
    iso_serve_room room;
    if (s->heads % devices) break;
    ISO_TRY(iso_serve_setup_init(&u, s, d, f, iso_serve_layout_tp(s, devices), err));
    iso_status fits = iso_serve_capacity(&u, prompt + output, share, &room, err);
    if (fits == ISO_ENOMEM) continue;
    ISO_TRY(fits);
    for (double b = 1; b <= room.seqs && b <= 4096 && *n < ISO_ENERGY_POINTS_MAX; b *= 2) {
      double itl = itl_at(&u, c, b, prompt + output / 2);
      out[(*n)++] = (iso_energy_point){devices, b, itl, itl * d->decode_w * (double)devices / b, b / itl, true};
      st = ISO_OK;
    }
  }
  if (st != ISO_OK)
    return iso_fail(err, ISO_ENOMEM, "energy: %s in %s with %g tokens fits no number of %s up to %lld", s->name, f->name, prompt + output, d->name,
                    (long long)d->node);
  for (int i = 0; i < *n; i++) {
    for (int k = 0; k < *n; k++)
      if (out[k].itl_s <= out[i].itl_s && out[k].j_per_tok <= out[i].j_per_tok &&
          (out[k].itl_s < out[i].itl_s || out[k].j_per_tok < out[i].j_per_tok))
        out[i].front = false;
    if (out[i].itl_s <= slo_itl_s && (*best < 0 || out[i].j_per_tok < out[*best].j_per_tok)) *best = i;
  }
  return ISO_OK;
}

iso_eflops iso_serve_eflops(double params, double layers, double heads, double kv_heads, double head_dim, double prompt, double output,
                            double samples, double flop_per_element) {
  double d = head_dim * layers;
  return (iso_eflops){.compute = (2 * params * output + 2 * (2 * prompt + output) * output * heads * d) * samples,
                      .memory = flop_per_element * 2 * (2 * prompt + output * samples) * output * kv_heads * d};
}

iso_status iso_serve_offload(const iso_serve_setup *u, const iso_serve_coef *c, double prompt, double output, double kv_b, iso_offload_rate *o,
                             iso_err *err) {
  memset(o, 0, sizeof *o);
  const iso_serve_counts *n = &u->n;
  if (!(n->moe_layers > 0)) return iso_fail(err, ISO_EINVAL, "offload: %s has no experts", u->shape.name);
  if (!(prompt >= 1 && output >= 1 && kv_b > 0))
    return iso_fail(err, ISO_EINVAL, "offload: %g and %g tokens and %g bytes, expected positive numbers", prompt, output, kv_b);
  double p = prompt, g = output, per_tok = n->kv_per_tok * u->format.kv_b, cached = kv_b / per_tok;
  o->stream_s = n->expert * (double)u->shape.experts * n->moe_layers * u->format.expert_b / (u->device.host_b_s * (double)u->devices);
  o->pme = 2 * (p + g) / ((2 * p + g) * g);
  o->host_tok_per_s = o->pme * cached / o->stream_s * g / (p + g);
  // The device's own rate on prompts and outputs in the proportion p : g, as products at peak scaled by the calibration.
  iso_serve_step pre = {.prefill_tok = 1, .prefill_ctx = p / 2};
  iso_serve_work w = iso_serve_work_of(u, &pre);
  o->device_tok_per_s = 1 / (w.prefill_flop_s * (c->overlap ? c->flop : c->prefill)) * g / (p + g);
  o->tok_per_s = fmin(o->host_tok_per_s, o->device_tok_per_s);
  o->bound = o->host_tok_per_s <= o->device_tok_per_s ? "host" : "device";
  o->overlap = (p + g) / (p + g / 2);
  return ISO_OK;
}
