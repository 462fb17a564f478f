// The Chinchilla fit: prior, a grid of starts by variable projection, Newton from each, bootstrap from the best.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pool.h"
#include "base/rng.h"
#include "base/stat.h"
#include "plan/fit/fit_impl.h"

enum { P = ISO_FIT_P };
_Static_assert((int)ISO_FIT_P == (int)ISO_LSE_P, "the fit and its core count the same parameters");

const iso_lse_opts ISO_FIT_SOLVE = {.max_iter = 200, .grad_tol = 1e-13};

iso_fit_opts iso_fit_opts_default(void) {
  return (iso_fit_opts){.delta = 1e-3, .resamples = 4000, .level = 0.90, .boot = ISO_FIT_BOOT_AUTO, .noise_sd = 0.005, .noise_dof = 2};
}

// The prior's own coordinates are T p, T the identity but for T[0][3] = mean(log N) - log N0 and T[1][4] likewise.
// One Huber sum unit is worth noise_sd * min(delta, noise_sd) of negative log-likelihood: noise_sd^2 where residuals are quadratic,
// delta * noise_sd where they are absolute (a Laplace law of that scale).
static void bind_prior(const iso_fit_opts *o, iso_lse *s) {
  if (!o->prior) return;
  double t[2] = {s->x_mean - log(o->prior->anchor_params), s->y_mean - log(o->prior->anchor_tokens)};
  double unit = o->noise_sd * fmin(o->delta, o->noise_sd), prec[P], u[P][P] = {{0}}, sum = 0;
  for (int k = 0; k < P; k++) {
    prec[k] = 1 / (o->prior->sd[k] * o->prior->sd[k]);  // 0 for an infinite sd
    u[k][k] = prec[k];
    if (k <= ISO_FIT_LOG_E) sum += prec[k];
  }
  // Inverse of diag(sd^2) + scale_sd^2 11' on the three logarithms (Sherman and Morrison 1950).
  double s2 = o->prior->scale_sd * o->prior->scale_sd;
  for (int i = 0; i <= ISO_FIT_LOG_E; i++)
    for (int j = 0; j <= ISO_FIT_LOG_E; j++) u[i][j] -= s2 * prec[i] * prec[j] / (1 + s2 * sum);
  // q += T' u T
  for (int i = 0; i < P; i++)
    for (int j = 0; j < P; j++) {
      double v = unit * u[i][j], ti = i < 2 ? t[i] : 0, tj = j < 2 ? t[j] : 0;
      s->prior.q[i][j] += v;
      if (i < 2) s->prior.q[3 + i][j] += v * ti;
      if (j < 2) s->prior.q[i][3 + j] += v * tj;
      if (i < 2 && j < 2) s->prior.q[3 + i][3 + j] += v * ti * tj;
    }
  memcpy(s->prior.mean, o->prior->mean, sizeof s->prior.mean);
  for (int k = 0; k < 2; k++) s->prior.mean[k] -= t[k] * o->prior->mean[3 + k];
}

// For given exponents the law is linear: weighted least squares of 1 = (E + A N^-alpha + B D^-beta) / L gives the rest
// (variable projection, Golub and Pereyra 1973). Coefficients that come out too small are lifted to 2% of the loss.
static void project_start(const iso_lse *s, const iso_lse_work *w, double alpha, double beta, double *p) {
  double m[3][4] = {{0}}, mean = 0, total = 0, v[3];
  for (int64_t i = 0; i < s->n; i++) {
    double c[3] = {exp(-alpha * s->x[i]) * w->inv[i], exp(-beta * s->y[i]) * w->inv[i], w->inv[i]};
    for (int a = 0; a < 3; a++) {
      for (int b = 0; b < 3; b++) m[a][b] += w->omega[i] * c[a] * c[b];
      m[a][3] += w->omega[i] * c[a];
    }
    mean += w->omega[i] * exp(w->l[i]);
    total += w->omega[i];
  }
  mean /= total;
  for (int k = 0; k < 3; k++) m[k][k] *= 1 + 1e-9;
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < 3; i++) {
      double r = i == k ? 0 : m[i][k] / m[k][k];
      for (int j = k; j < 4; j++) m[i][j] -= r * m[k][j];
    }
  double sum = 0;
  for (int k = 0; k < 3; k++) {
    v[k] = m[k][3] / m[k][k];
    if (!(v[k] > 0.02 * mean)) v[k] = 0.02 * mean;
    sum += v[k];
  }
  // Lifting one term must not leave the whole far above the data.
  double scale = sum > 1.5 * mean ? mean / sum : 1;
  for (int k = 0; k < 3; k++) p[k] = log(v[k] * scale);
  p[3] = alpha;
  p[4] = beta;
}

typedef struct start {
  double p[P], objective;
} start;

static int by_objective(const void *a, const void *b) {
  const start *x = a, *y = b;
  return (x->objective > y->objective) - (x->objective < y->objective);
}

// Every start takes a few Newton steps; the best ones go on to the end.
iso_status iso_fit_multistart(const iso_lse *s, iso_lse_work *w, iso_fit *f, double *p, iso_err *err) {
  static const double EXPONENT[] = {0.03, 0.08, 0.15, 0.22, 0.3, 0.38, 0.46, 0.55, 0.7, 0.9, 1.2, 1.6, 2.0};
  enum { K = (int)ISO_COUNT(EXPONENT), FINAL = 24 };
  static const iso_lse_opts first = {.max_iter = 6, .grad_tol = 1e-9, .once = true};
  start at[K * K];
  double best = INFINITY;
  iso_lse_stat st;
  for (int k = 0; k < K * K; k++) {
    project_start(s, w, EXPONENT[k / K], EXPONENT[k % K], at[k].p);
    iso_lse_solve(s, w, &first, at[k].p, &st);
    at[k].objective = st.objective < INFINITY ? st.objective : INFINITY;
  }
  qsort(at, K * K, sizeof at[0], by_objective);
  f->starts = K * K;
  f->finalists = FINAL;
  for (int k = 0; k < FINAL; k++) {
    iso_lse_solve(s, w, &ISO_FIT_SOLVE, at[k].p, &st);
    at[k].objective = st.objective;
    if (!(st.objective < best)) continue;
    best = st.objective;
    f->objective = st.objective;
    f->grad_norm = st.grad_norm;
    memcpy(p, at[k].p, sizeof at[k].p);
  }
  if (!(best < INFINITY)) return iso_fail(err, ISO_ENUM, "fit: none of %d starts gave a finite objective for %lld points", K * K, (long long)s->n);
  for (int k = 0; k < FINAL; k++) f->finalists_agree += at[k].objective <= best + 1e-9;
  return ISO_OK;
}

typedef struct boot_job {
  const iso_lse *s;
  const iso_fit_opts *o;
  const double *p;
  iso_fit *f;
  iso_lse_work *work;  // one per worker
  double *loss;        // n per worker
  bool *bad;           // one per resample
} boot_job;

// Draws the weights, the losses and the prior's means of resample b; a function of (seed, b) alone.
static void draw(const boot_job *j, int64_t b, iso_lse_work *w, double *loss) {
  const iso_lse *s = j->s;
  const iso_fit *f = j->f;
  const iso_fit_prior *pr = j->o->prior;
  uint64_t step = (uint64_t)b;
  if (f->boot == ISO_FIT_BOOT_PAIRS) {
    memset(w->omega, 0, sizeof *w->omega * (size_t)s->n);
    for (int64_t i = 0; i < s->n; i++) {
      int64_t k = iso_rng_below(j->o->seed, ISO_RNG_BOOTSTRAP, step, (uint64_t)i, s->n);
      w->omega[k] += j->o->weight ? j->o->weight[k] : 1;
    }
  } else {
    // sd^2 = noise_sd^2 df / chi2(df): what the residuals leave unknown about the noise.
    int64_t df = (int64_t)fmax(round(fmin(f->noise_df, 200)), 1);
    double chi2 = 0;
    for (int64_t i = 0; i < df; i++) {
      double z = iso_rng_normal(j->o->seed, ISO_RNG_NOISE, step, (uint64_t)i);
      chi2 += z * z;
    }
    double sd = f->noise_sd * sqrt((double)df / chi2);
    f->sample_noise[b] = sd;
    for (int64_t i = 0; i < s->n; i++) loss[i] = s->l[i] + j->work[0].r[i] + sd * iso_rng_normal(j->o->seed, ISO_RNG_BOOTSTRAP, step, (uint64_t)i);
    iso_lse_work_set_loss(s, w, loss);
  }
  if (!pr) return;
  double t[2] = {s->x_mean - log(pr->anchor_params), s->y_mean - log(pr->anchor_tokens)};
  double scale = pr->scale_sd * iso_rng_normal(j->o->seed, ISO_RNG_NOISE, step, 1000 + P);
  for (int k = P - 1; k >= 0; k--) {
    double z = iso_rng_normal(j->o->seed, ISO_RNG_NOISE, step, (uint64_t)(1000 + k));
    w->prior_mean[k] = pr->mean[k] + (pr->sd[k] < INFINITY ? pr->sd[k] * z : 0) + (k <= ISO_FIT_LOG_E ? scale : 0);
    if (k < 2) w->prior_mean[k] -= t[k] * w->prior_mean[3 + k];
  }
}

static void boot_task(void *arg, int64_t b, int worker) {
  boot_job *j = arg;
  iso_lse_work *w = &j->work[1 + worker];
  double q[P];
  iso_lse_stat st;
  draw(j, b, w, j->loss + worker * j->s->n);
  memcpy(q, j->p, sizeof q);
  iso_lse_solve(j->s, w, &ISO_FIT_SOLVE, q, &st);
  j->bad[b] = !st.converged;
  iso_lse_uncentre(j->s, q, j->f->sample + b * P);
}

// Standard errors and intervals, after taking refits that did not converge out of the sample.
static iso_status summarise(iso_fit *f, const bool *bad, int64_t resamples, iso_err *err) {
  int64_t n = 0;
  for (int64_t b = 0; b < resamples; b++) {
    if (bad[b]) continue;
    memmove(f->sample + n * P, f->sample + b * P, sizeof(double) * P);
    if (f->sample_noise) f->sample_noise[n] = f->sample_noise[b];
    n++;
  }
  f->resamples = n;
  f->failed = resamples - n;
  if (f->failed * 100 > resamples)
    iso_fit_warn(f, "%lld of %lld refits did not converge and are left out: intervals are too narrow", (long long)f->failed, (long long)resamples);
  double *v = malloc(sizeof *v * (size_t)(n + 1));
  if (!v) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld resamples", (long long)n);
  for (int k = 0; k < P; k++) {
    for (int64_t b = 0; b < n; b++) v[b] = f->sample[b * P + k];
    f->se[k] = iso_stdev(v, n);
    iso_fit_interval iv = iso_fit_bc_interval(v, n, f->p[k], f->level, f->stretch);
    f->lo[k] = iv.lo;
    f->hi[k] = iv.hi;
  }
  free(v);
  return ISO_OK;
}

iso_status iso_fit_bootstrap(iso_ctx *c, const iso_lse *s, const iso_fit_opts *o, const double *p, iso_fit *f, iso_err *err) {
  iso_status st = ISO_OK;
  int threads = iso_pool_threads(c->pool);
  boot_job j = {.s = s, .o = o, .p = p, .f = f};
  f->boot = o->boot != ISO_FIT_BOOT_AUTO ? o->boot : s->n >= 60 && !o->prior ? ISO_FIT_BOOT_PAIRS : ISO_FIT_BOOT_PARAMETRIC;
  // A parametric bootstrap draws its noise with the degrees of freedom already counted.
  f->stretch = f->boot == ISO_FIT_BOOT_PAIRS ? iso_fit_stretch(s->n, P, o->level) : 1;
  f->sample = malloc(sizeof(double) * (size_t)(o->resamples * P));
  if (f->boot == ISO_FIT_BOOT_PARAMETRIC) f->sample_noise = malloc(sizeof(double) * (size_t)o->resamples);
  j.bad = calloc((size_t)o->resamples, sizeof *j.bad);
  j.loss = malloc(sizeof(double) * (size_t)(s->n * threads));
  j.work = calloc((size_t)threads + 1, sizeof *j.work);
  if (!f->sample || !j.bad || !j.loss || !j.work || (f->boot == ISO_FIT_BOOT_PARAMETRIC && !f->sample_noise)) {
    st = iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld resamples", (long long)o->resamples);
    goto done;
  }
  for (int t = 0; t <= threads; t++) {
    ISO_TRYG(iso_lse_work_open(s, &j.work[t], err));
    for (int64_t i = 0; o->weight && i < s->n; i++) j.work[t].omega[i] = o->weight[i];
  }
  iso_lse_eval(s, &j.work[0], p, NULL);  // worker slot 0 only keeps the residuals of the estimate
  iso_pool_run(c->pool, o->resamples, boot_task, &j);
  st = summarise(f, j.bad, o->resamples, err);
done:
  for (int t = 0; j.work && t <= threads; t++) iso_lse_work_close(&j.work[t]);
  free(j.work);
  free(j.loss);
  free(j.bad);
  return st;
}

iso_status iso_fit_open_problem(const iso_fit_data *d, const iso_fit_opts *o, iso_lse *s, iso_err *err) {
  double *v = malloc(sizeof *v * (size_t)d->n * 3);
  if (!v) return iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld points", (long long)d->n);
  for (int64_t i = 0; i < d->n; i++) {
    v[i] = log(d->params[i]);
    v[d->n + i] = log(d->tokens[i]);
    v[2 * d->n + i] = log(d->loss[i]);
  }
  iso_status st = iso_lse_open(v, v + d->n, v + 2 * d->n, d->n, o->delta, s, err);
  free(v);
  return st;
}

iso_status iso_fit_run(iso_ctx *c, const iso_fit_data *d, const iso_fit_opts *o, iso_fit *out, iso_err *err) {
  iso_status st = ISO_OK;
  iso_lse s = {0};
  iso_lse_work w = {0};
  double p[P], start_s = iso_now_s(c);
  memset(out, 0, sizeof *out);
  ISO_TRY(iso_fit_check(d, o, err));
  out->fit_s = out->refit_s = NAN;
  out->law = &iso_law_chinchilla;
  out->n = d->n;
  out->skipped = d->skipped;
  out->dropped = d->dropped;
  out->level = o->level;
  out->delta = o->delta;
  out->seed = o->seed;
  for (int k = 0; k < P; k++) out->se[k] = out->lo[k] = out->hi[k] = NAN;
  ISO_TRYG(iso_fit_open_problem(d, o, &s, err));
  bind_prior(o, &s);
  ISO_TRYG(iso_lse_work_open(&s, &w, err));
  for (int64_t i = 0; o->weight && i < d->n; i++) w.omega[i] = o->weight[i];
  out->resid = malloc(sizeof(double) * (size_t)d->n);
  if (!out->resid) {
    st = iso_fail(err, ISO_ENOMEM, "fit: no memory for %lld points", (long long)d->n);
    goto done;
  }
  ISO_TRYG(iso_fit_multistart(&s, &w, out, p, err));
  iso_lse_eval(&s, &w, p, NULL);
  iso_lse_uncentre(&s, p, out->p);
  iso_fit_diagnose(d, o, &s, &w, out);
  out->fit_s = iso_now_s(c) - start_s;
  if (o->resamples > 0) {
    ISO_TRYG(iso_fit_bootstrap(c, &s, o, p, out, err));
    out->refit_s = (iso_now_s(c) - start_s - out->fit_s) / (double)o->resamples;
  }
done:
  iso_lse_work_close(&w);
  iso_lse_close(&s);
  if (st != ISO_OK) iso_fit_close(out);
  return st;
}

void iso_fit_close(iso_fit *f) {
  free(f->sample);
  free(f->sample_noise);
  free(f->resid);
  memset(f, 0, sizeof *f);
}
