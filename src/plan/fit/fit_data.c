// The table of runs that a fit reads: storage, dropping outliers, checks.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/fit/fit_impl.h"

enum { COLS = 4 };

static void bind(iso_fit_data *d, double *mem, int64_t cap) {
  d->params = mem;
  d->tokens = mem + cap;
  d->flop = mem + 2 * cap;
  d->loss = mem + 3 * cap;
}

iso_status iso_fit_data_open(int64_t n, iso_fit_data *out, iso_err *err) {
  memset(out, 0, sizeof *out);
  if (n < 0 || n > INT64_C(1) << 32) return iso_fail(err, ISO_EINVAL, "fit data: %lld points, expected 0 to 2^32", (long long)n);
  double *mem = calloc((size_t)n * COLS + 1, sizeof *mem);
  if (!mem) return iso_fail(err, ISO_ENOMEM, "fit data: no memory for %lld points", (long long)n);
  out->n = n;
  bind(out, mem, n);
  return ISO_OK;
}

void iso_fit_data_close(iso_fit_data *d) {
  free(d->params);
  memset(d, 0, sizeof *d);
}

typedef struct ranked {
  double loss;
  int64_t row;
} ranked;

static int by_loss(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->loss != y->loss) return x->loss < y->loss ? -1 : 1;
  return (x->row > y->row) - (x->row < y->row);
}

static iso_status rank_rows(const iso_fit_data *d, ranked **out, iso_err *err) {
  ranked *r = calloc((size_t)d->n + 1, sizeof *r);
  if (!r) return iso_fail(err, ISO_ENOMEM, "fit data: no memory to sort %lld points", (long long)d->n);
  for (int64_t i = 0; i < d->n; i++) r[i] = (ranked){d->loss[i], i};
  qsort(r, (size_t)d->n, sizeof *r, by_loss);
  *out = r;
  return ISO_OK;
}

iso_status iso_fit_data_drop_highest(iso_fit_data *d, int64_t k, iso_err *err) {
  if (k < 0 || k >= d->n)
    return iso_fail(err, ISO_EINVAL, "fit data: cannot drop the %lld highest losses of %lld points", (long long)k, (long long)d->n);
  ranked *r = NULL;
  ISO_TRY(rank_rows(d, &r, err));
  for (int64_t i = d->n - k; i < d->n; i++) d->params[r[i].row] = -1;
  free(r);
  int64_t n = 0;
  for (int64_t i = 0; i < d->n; i++) {
    if (d->params[i] == -1) continue;
    double row[COLS] = {d->params[i], d->tokens[i], d->flop[i], d->loss[i]};
    d->params[n] = row[0];
    d->tokens[n] = row[1];
    d->flop[n] = row[2];
    d->loss[n] = row[3];
    n++;
  }
  d->dropped += d->n - n;
  d->n = n;
  return ISO_OK;
}

iso_status iso_fit_data_sort(iso_fit_data *d, iso_err *err) {
  ranked *r = NULL;
  ISO_TRY(rank_rows(d, &r, err));
  double *mem = calloc((size_t)d->n * COLS + 1, sizeof *mem);
  if (!mem) {
    free(r);
    return iso_fail(err, ISO_ENOMEM, "fit data: no memory to sort %lld points", (long long)d->n);
  }
  for (int64_t i = 0; i < d->n; i++) {
    mem[i] = d->params[r[i].row];
    mem[d->n + i] = d->tokens[r[i].row];
    mem[2 * d->n + i] = d->flop[r[i].row];
    mem[3 * d->n + i] = d->loss[r[i].row];
  }
  free(r);
  free(d->params);
  bind(d, mem, d->n);
  return ISO_OK;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

// Values that differ by more than a relative 1e-6.
static iso_status distinct(const double *v, int64_t n, int64_t *out, iso_err *err) {
  double *s = calloc((size_t)n + 1, sizeof *s);
  if (!s) return iso_fail(err, ISO_ENOMEM, "fit data: no memory for %lld points", (long long)n);
  memcpy(s, v, sizeof *s * (size_t)n);
  qsort(s, (size_t)n, sizeof *s, by_value);
  int64_t k = n > 0;
  for (int64_t i = 1; i < n; i++) k += s[i] > s[i - 1] * (1 + 1e-6);
  free(s);
  *out = k;
  return ISO_OK;
}

static iso_status check_levels(const iso_fit_data *d, iso_err *err) {
  const struct {
    const double *v;
    const char *what;
  } axis[] = {{d->params, "parameter counts"}, {d->tokens, "token counts"}};
  int64_t losses = 0;
  ISO_TRY(distinct(d->loss, d->n, &losses, err));
  if (losses == 1) {
    iso_fail(err, ISO_EINVAL, "fit: all %lld points have a loss of %g, so nothing can be told of how it falls", (long long)d->n, d->loss[0]);
    return iso_hint(err, ISO_EINVAL, "is it the right column?");
  }
  for (size_t a = 0; a < ISO_COUNT(axis); a++) {
    int64_t k = 0;
    ISO_TRY(distinct(axis[a].v, d->n, &k, err));
    if (k >= 3) continue;
    if (k == 1)
      iso_fail(err, ISO_EINVAL, "fit: all %lld points have %s of %g, so its exponent cannot be told", (long long)d->n, axis[a].what, axis[a].v[0]);
    else
      iso_fail(err, ISO_EINVAL, "fit: only %lld distinct %s among %lld points, expected at least 3", (long long)k, axis[a].what, (long long)d->n);
    return iso_hint(err, ISO_EINVAL, "add runs with other %s (a factor of 4 or more apart), or give a prior", axis[a].what);
  }
  return ISO_OK;
}

iso_status iso_fit_check(const iso_fit_data *d, const iso_fit_opts *o, iso_err *err) {
  int64_t need = o->prior ? 3 : ISO_FIT_P;
  if (d->n < need) {
    iso_fail(err, ISO_EINVAL, "fit: %lld point%s, expected at least %lld for %d parameters", (long long)d->n, d->n == 1 ? "" : "s", (long long)need,
             ISO_FIT_P);
    return iso_hint(err, ISO_EINVAL, o->prior ? "add runs" : "add runs (12 or more make useful intervals), or give a prior");
  }
  if (!(o->delta > 0 && o->delta < INFINITY)) return iso_fail(err, ISO_EINVAL, "fit: Huber delta %g, expected a positive number", o->delta);
  if (!(o->level > 0 && o->level < 1)) return iso_fail(err, ISO_EINVAL, "fit: interval level %g, expected between 0 and 1", o->level);
  if (o->resamples < 0 || o->resamples > 10000000)
    return iso_fail(err, ISO_EINVAL, "fit: %lld resamples, expected 0 to 10000000", (long long)o->resamples);
  if (!(o->noise_sd > 0 && o->noise_dof >= 0))
    return iso_fail(err, ISO_EINVAL, "fit: noise %g worth %g points, expected positive", o->noise_sd, o->noise_dof);
  double total = 0;
  for (int64_t i = 0; i < d->n; i++) {
    const struct {
      double v;
      const char *what;
    } f[] = {{d->params[i], "params"}, {d->tokens[i], "tokens"}, {d->loss[i], "loss"}};
    for (size_t k = 0; k < ISO_COUNT(f); k++)
      if (!(f[k].v > 0 && f[k].v < INFINITY))
        return iso_fail(err, ISO_EINVAL, "fit: point %lld has %s = %g, expected a positive finite number", (long long)i + 1, f[k].what, f[k].v);
    double wt = o->weight ? o->weight[i] : 1;
    if (!(wt >= 0 && wt < INFINITY)) return iso_fail(err, ISO_EINVAL, "fit: point %lld has weight %g, expected zero or more", (long long)i + 1, wt);
    total += wt;
  }
  if (!(total > 0)) return iso_fail(err, ISO_EINVAL, "fit: every point has weight 0");
  if (!o->prior) return check_levels(d, err);
  for (int k = 0; k < ISO_FIT_P; k++)
    if (!(o->prior->sd[k] > 0) || !(fabs(o->prior->mean[k]) < INFINITY))
      return iso_fail(err, ISO_EINVAL, "fit: prior %d has mean %g and sd %g, expected a finite mean and a positive sd", k, o->prior->mean[k],
                      o->prior->sd[k]);
  if (!(o->prior->scale_sd >= 0 && o->prior->scale_sd < INFINITY))
    return iso_fail(err, ISO_EINVAL, "fit: the prior's common scale has sd %g, expected a finite one", o->prior->scale_sd);
  if (!(o->prior->anchor_params > 0 && o->prior->anchor_tokens > 0)) return iso_fail(err, ISO_EINVAL, "fit: prior anchors must be positive");
  return ISO_OK;
}
