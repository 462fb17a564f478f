// The gradient noise scale: what batch a run could use, from the sizes of its gradients at two batch sizes.
#ifndef ISO_PLAN_NOISE_SCALE_H
#define ISO_PLAN_NOISE_SCALE_H
#include "base/ctx.h"

// McCandlish et al. 2018, arXiv:1812.06162, appendix A. The expected squared length of the mean gradient of B examples is
// |G|^2 + tr(Sigma) / B, so two batch sizes tell both terms apart: both estimates are unbiased, their ratio B_simple = tr(Sigma) / |G|^2 is
// not, which is why each is averaged over steps by itself before they are divided.
typedef struct iso_noise_scale {
  double small, big;         // examples (or tokens) of the two batches, small < big
  int64_t n;                 // pairs added
  double mean_g, mean_s;     // means of the two estimates
  double var_g, var_s, cov;  // sums of squares and products about the means
} iso_noise_scale;

// ISO_EINVAL unless 0 < small < big. Batches may be counted in examples or tokens: the answer is in the same unit.
iso_status iso_noise_scale_open(double small, double big, iso_noise_scale *out, iso_err *err);
// Adds a step: squared lengths of the mean gradient of a small batch and of the big one that holds it. ISO_EINVAL for a negative or
// infinite one.
iso_status iso_noise_scale_add(iso_noise_scale *s, double small_sq, double big_sq, iso_err *err);
// The same for a step whose batches have sizes of their own, as masked targets make them.
iso_status iso_noise_scale_add_at(iso_noise_scale *s, double small, double big, double small_sq, double big_sq, iso_err *err);

typedef struct iso_noise_answer {
  double grad_sq, trace;  // |G|^2 and tr(Sigma)
  double batch;           // B_simple = tr(Sigma) / |G|^2
  double se;              // standard error of `batch` for independent steps, to first order; NaN for one step
} iso_noise_answer;
// ISO_ENUM when nothing was added, or when the steps are too few or too noisy for |G|^2 or tr(Sigma) to come out positive.
iso_status iso_noise_scale_get(const iso_noise_scale *s, iso_noise_answer *out, iso_err *err);

// The noise scale grows while a run trains: |G|^2 falls, and the first steps would outweigh all others in one mean over the run. Two windows
// in constant memory: `old` holds the newest half to three quarters of the steps added (all of the first 16), `young` takes its place when
// the run has doubled.
typedef struct iso_noise_window {
  iso_noise_scale old, young;
  int64_t n, old_from, young_from;  // steps added, and how many of them each window leaves out
} iso_noise_window;
iso_status iso_noise_window_open(double small, double big, iso_noise_window *out, iso_err *err);
iso_status iso_noise_window_add(iso_noise_window *w, double small, double big, double small_sq, double big_sq, iso_err *err);

// What a batch of `batch` costs where the noise scale is `noise`: steps over the fewest possible, examples over the fewest possible, so that
// (steps - 1)(examples - 1) = 1; both are 2 at the critical batch, which the noise scale predicts (section 2.3, equation 5.1).
void iso_noise_tradeoff(double noise, double batch, double *steps, double *examples);
#endif
