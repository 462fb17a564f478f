// Checking, parsing and printing model shapes.
#include "model/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/arch.h"

static iso_status range(const char *what, int64_t v, int64_t lo, int64_t hi, iso_err *err) {
  if (v >= lo && v <= hi) return ISO_OK;
  return iso_fail(err, ISO_EINVAL, "model: %s is %lld, must be between %lld and %lld", what, (long long)v, (long long)lo, (long long)hi);
}

iso_status iso_config_check(const iso_model_config *c, iso_err *err) {
  const iso_arch *a;
  ISO_TRY(iso_arch_find(c->arch, &a, err));
  ISO_TRY(range("vocab", c->vocab, 1, INT32_MAX, err));
  ISO_TRY(range("width", c->width, 1, 1 << 20, err));
  ISO_TRY(range("layers", c->layers, 1, 1 << 14, err));
  ISO_TRY(range("heads", c->heads, 1, 1 << 14, err));
  ISO_TRY(range("kv_heads", c->kv_heads, 1, c->heads, err));
  ISO_TRY(range("head_dim", c->head_dim, 1, 512, err));
  ISO_TRY(range("mlp", c->mlp, 1, 1 << 22, err));
  ISO_TRY(range("ctx", c->ctx, 1, 1 << 24, err));
  if (c->heads % c->kv_heads)
    return iso_fail(err, ISO_EINVAL, "model: %lld heads cannot be shared evenly by %lld KV heads", (long long)c->heads, (long long)c->kv_heads);
  if (a->rotary && c->head_dim % 2)
    return iso_fail(err, ISO_EINVAL, "model: head_dim %lld must be even for rotary positions", (long long)c->head_dim);
  if (!(c->norm_eps > 0 && c->norm_eps < 1)) return iso_fail(err, ISO_EINVAL, "model: norm_eps %g must be between 0 and 1", c->norm_eps);
  if (a->rotary && !(c->rope_theta > 1)) return iso_fail(err, ISO_EINVAL, "model: rope_theta %g must be above 1", c->rope_theta);
  return ISO_OK;
}

json_t *iso_config_json(const iso_model_config *c) {
  return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:f, s:f}", "arch", c->arch, "vocab", (json_int_t)c->vocab, "width",
                   (json_int_t)c->width, "layers", (json_int_t)c->layers, "heads", (json_int_t)c->heads, "kv_heads", (json_int_t)c->kv_heads,
                   "head_dim", (json_int_t)c->head_dim, "mlp", (json_int_t)c->mlp, "ctx", (json_int_t)c->ctx, "tied", c->tied, "norm_eps",
                   c->norm_eps, "rope_theta", c->rope_theta);
}

iso_status iso_config_from_json(const json_t *j, iso_model_config *out, iso_err *err) {
  static const char *const KEYS[] = {"arch", "vocab", "width", "layers",   "heads",      "kv_heads", "head_dim",
                                     "mlp",  "ctx",   "tied",  "norm_eps", "rope_theta", NULL};
  const char *arch;
  *out = (iso_model_config){.tied = true, .norm_eps = 1e-5, .rope_theta = 10000};
  ISO_TRY(iso_json_only_keys(j, "model", KEYS, err));
  ISO_TRY(iso_json_get_str(j, "arch", "model", &arch, err));
  if (strlen(arch) >= sizeof out->arch) return iso_fail(err, ISO_EFORMAT, "model: unknown arch \"%.40s\"", arch);
  strcpy(out->arch, arch);
  const int64_t big = (int64_t)1 << 40;
  ISO_TRY(iso_json_get_i64(j, "vocab", "model", 1, big, &out->vocab, err));
  ISO_TRY(iso_json_get_i64(j, "width", "model", 1, big, &out->width, err));
  ISO_TRY(iso_json_get_i64(j, "layers", "model", 1, big, &out->layers, err));
  ISO_TRY(iso_json_get_i64(j, "heads", "model", 1, big, &out->heads, err));
  out->kv_heads = out->heads;
  ISO_TRY(iso_json_opt_i64(j, "kv_heads", "model", 1, big, &out->kv_heads, err));
  out->head_dim = out->width / out->heads;
  ISO_TRY(iso_json_opt_i64(j, "head_dim", "model", 1, big, &out->head_dim, err));
  ISO_TRY(iso_json_get_i64(j, "mlp", "model", 1, big, &out->mlp, err));
  ISO_TRY(iso_json_get_i64(j, "ctx", "model", 1, big, &out->ctx, err));
  ISO_TRY(iso_json_opt_bool(j, "tied", "model", &out->tied, err));
  ISO_TRY(iso_json_opt_f64(j, "norm_eps", "model", &out->norm_eps, err));
  ISO_TRY(iso_json_opt_f64(j, "rope_theta", "model", &out->rope_theta, err));
  return iso_config_check(out, err);
}

iso_status iso_config_parse(const char *text, iso_model_config *out, iso_err *err) {
  static const struct {
    const char *name, *arch, *shape;
  } NAMED[] = {{"10m", "llama", "8,320,5/5,864,4096,256"},
               {"50m", "llama", "12,576,9/3,1536,8192,512"},
               {"124m", "llama", "12,768,12/12,2048,50257,1024"},
               {"gpt2-124m", "gpt2", "12,768,12/12,3072,50257,1024"}};
  const char *shape = text, *arch = "llama";
  for (size_t i = 0; i < ISO_COUNT(NAMED); i++)
    if (strcmp(text, NAMED[i].name) == 0) {
      shape = NAMED[i].shape;
      arch = NAMED[i].arch;
    }
  long long l, d, h, k, f, v, t;
  char rest;
  if (sscanf(shape, "%lld,%lld,%lld/%lld,%lld,%lld,%lld%c", &l, &d, &h, &k, &f, &v, &t, &rest) != 7) {
    iso_fail(err, ISO_EINVAL, "\"%.60s\": not a model shape", text);
    return iso_hint(err, ISO_EINVAL, "write layers,width,heads/kv_heads,mlp,vocab,seq as in 8,320,5/5,864,4096,256, or 10m, 50m, 124m, gpt2-124m");
  }
  *out = (iso_model_config){.vocab = v,
                            .width = d,
                            .layers = l,
                            .heads = h,
                            .kv_heads = k,
                            .head_dim = h > 0 ? d / h : 0,
                            .mlp = f,
                            .ctx = t,
                            .tied = true,
                            .norm_eps = 1e-5,
                            .rope_theta = 10000};
  strcpy(out->arch, arch);
  return iso_config_check(out, err);
}

char *iso_config_print(const iso_model_config *c, char *buf, size_t n) {
  (void)snprintf(buf, n, "%s %lldx%lld, heads %lld/%lld of %lld, mlp %lld, vocab %lld, seq %lld", c->arch, (long long)c->layers, (long long)c->width,
                 (long long)c->heads, (long long)c->kv_heads, (long long)c->head_dim, (long long)c->mlp, (long long)c->vocab, (long long)c->ctx);
  return buf;
}
