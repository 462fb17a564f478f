// Layouts and steps as JSON.
#include "plan/layout/layout.h"

json_t *iso_layout_json(const iso_layout *l) {
  json_t *o = json_object();
  const struct {
    const char *key;
    int64_t v;
  } num[] = {{"devices", iso_layout_devices(l)},
             {"tensor", l->tensor},
             {"pipeline", l->pipeline},
             {"data", l->data},
             {"context", l->context},
             {"expert", l->expert},
             {"micro_batch", l->micro_batch},
             {"chunks", l->chunks},
             {"zero", l->zero}};
  for (size_t i = 0; i < ISO_COUNT(num); i++) json_object_set_new(o, num[i].key, json_integer((json_int_t)num[i].v));
  if (l->local) {
    json_object_set_new(o, "local", json_integer((json_int_t)l->local));
    json_object_set_new(o, "weights_over", json_string(iso_layout_split_name(l->weights_over)));
    json_object_set_new(o, "gradients_over", json_string(iso_layout_split_name(l->grads_over)));
    json_object_set_new(o, "states_over", json_string(iso_layout_split_name(l->states_over)));
    json_object_set_new(o, "quantised", json_boolean(l->quantised));
  }
  json_object_set_new(o, "schedule", json_string(iso_layout_sched_name(l->schedule)));
  if (l->schedule == ISO_LAYOUT_V_ADAPTIVE) {
    const iso_layout_weave *w = &l->weave;
    json_object_set_new(o, "held_chunks", json_integer(w->held));
    json_object_set_new(
        o, "building_block",
        json_pack("{s:[i, i], s:[i, i], s:i, s:[i, i, i], s:s}", "down", w->down[0], w->down[1], "up", w->up[0], w->up[1], "cut", (int)w->cut,
                  "turns", w->turn[0], w->turn[1], w->turn[2], "order", w->order == ISO_LAYOUT_ORDER_SLOTS ? "slots" : "ready"));
  }
  json_object_set_new(o, "recompute", json_string(iso_layout_recompute_name(l->recompute)));
  json_object_set_new(o, "seq_parallel", json_boolean(l->seq_parallel));
  json_object_set_new(o, "offload", json_boolean(l->offload));
  return o;
}

json_t *iso_layout_numbers_json(const iso_layout_job *j) {
  return json_pack("{s:s, s:o, s:o, s:o, s:o}", "products", j->fp8 ? "fp8" : "16-bit", "weight_bytes", iso_json_num(j->weight_b), "gradient_bytes",
                   iso_json_num(j->grad_b), "gradient_bytes_sent", iso_json_num(j->grad_comm_b), "optimizer_bytes", iso_json_num(j->optim_b));
}

// Dollars and joules are the step's time's, rates its inverse: so are their intervals.
void iso_layout_ranges(json_t *o, const iso_layout_step *s) {
  static const char *const TIMES[] = {"step_s", "usd", "energy_j", "pipeline_s", NULL};
  static const char *const RATES[] = {"tok_per_s",
                                      "mfu",
                                      "mfu_full_attention",
                                      "mfu_6n",
                                      "hfu",
                                      "hfu_full_attention",
                                      "model_tflop_per_s_per_device",
                                      "hardware_tflop_per_s_per_device",
                                      NULL};
  static const char *const WHY = "the calibration tells no residuals";
  iso_json_scale(o, TIMES, s->lo_s / s->step_s, s->hi_s / s->step_s, WHY);
  iso_json_scale(o, RATES, s->step_s / s->hi_s, s->step_s / s->lo_s, WHY);
}

json_t *iso_layout_step_json(const iso_layout_step *s) {
  json_t *o = json_object(), *part = json_object(), *roof = json_object();
  const struct {
    const char *key;
    double v;
  } parts[] = {{"compute_s", s->compute_s}, {"launch_s", s->launch_s},        {"head_s", s->head_s},       {"tensor_s", s->tensor_s},
               {"context_s", s->context_s}, {"expert_s", s->expert_s},        {"bubble_s", s->bubble_s},   {"p2p_s", s->p2p_s},
               {"data_s", s->data_s},       {"optimizer_s", s->optim_s},      {"offload_s", s->offload_s}, {"straggler_s", s->straggler_s},
               {"fixed_s", s->fixed_s},     {"contention_s", s->contention_s}},
    all[] = {{"step_s", s->step_s},
             {"tok_per_s", s->tok_s},
             {"model_flop", s->model_flop},
             {"model_flop_full_attention", s->model_flop_full},
             {"executed_flop", s->exec_flop},
             {"mfu", s->mfu},
             {"mfu_full_attention", s->mfu_full},
             {"hfu", s->hfu},
             {"usd", s->usd},
             {"energy_j", s->joule}},
    roofs[] = {{"flop_s", s->flop_roof_s},
               {"memory_s", s->mem_roof_s},
               {"intra_link_s", s->intra_roof_s},
               {"inter_link_s", s->inter_roof_s},
               {"roofline_s", s->roofline_s}};
  json_object_set_new(o, "micro_batches", json_integer((json_int_t)s->micro_batches));
  for (size_t i = 0; i < ISO_COUNT(all); i++) json_object_set_new(o, all[i].key, iso_json_num(all[i].v));
  for (size_t i = 0; i < ISO_COUNT(parts); i++) json_object_set_new(part, parts[i].key, iso_json_num(parts[i].v));
  for (size_t i = 0; i < ISO_COUNT(roofs); i++) json_object_set_new(roof, roofs[i].key, iso_json_num(roofs[i].v));
  iso_layout_ranges(o, s);
  json_object_set_new(part, "interval", json_string("none: the calibration's residuals are those of whole steps"));
  json_object_set_new(o, "parts", part);
  json_object_set_new(o, "rooflines", roof);
  json_object_set_new(o, "bound", json_string(s->bound ? s->bound : ""));
  json_object_set_new(o, "source",
                      json_pack("{s:s, s:s, s:s}", "matrices", s->table_matrices ? "table" : "model", "attention",
                                s->table_attention ? "table" : "model", "links", s->table_links ? "table" : "model"));
  return o;
}
