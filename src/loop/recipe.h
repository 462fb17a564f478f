// The recipe for small models: hyperparameters and the shipped law, each by measurement of our own (docs/decisions.md).
#ifndef ISO_LOOP_RECIPE_H
#define ISO_LOOP_RECIPE_H
#include "cost/budget.h"
#include "plan/fit/fit.h"
#include "train/trainer.h"

// Vocabulary for a job that can afford about `flop` of training and has `text_b` bytes of text.
int iso_recipe_vocab(double flop, double text_b);
// Shape number i of the ladder that the planner searches, by rising size; false past its end. All are Llamas that transformers opens.
bool iso_recipe_shape(int i, int64_t vocab, int64_t ctx, iso_model_config *out);
// Options for training `c` on `tokens` tokens: batch, rates, warm-up, steps.
iso_train_opts iso_recipe_opts(const iso_model_config *c, double tokens, uint64_t seed);
// The shipped law in bits per byte of text, from our own sweeps; tokens and parameters as the store counts them:
// L = ((N0/N)^a + D0/(D + D1))^b, the coupled form of Kaplan et al. 2020 (arXiv 2001.08361, eq. 1.5) with tokens D1 that a run starts with.
// Over runs of 300 to 10,000 steps it is twice as close as E + A/N^alpha + B/D^beta (docs/decisions.md).
extern const char iso_recipe_law_source[];
double iso_recipe_loss(double params, double tokens);
// The same where it is asked beyond its runs too: from their edge on the loss falls by the same form with 0.4 bits per byte that no model
// removes, the interval with 0.2 to 0.6. Among the runs all three are iso_recipe_loss.
iso_est iso_recipe_law(double params, double tokens);
// The same runs as a Chinchilla law (order of fit.h): the prior of a sweep's own fit.
const double *iso_recipe_chinchilla(void);
// Relative standard deviation of the shipped law on a text that it has not seen.
#define ISO_RECIPE_LAW_SD 0.12
// Tokens worth of `tokens` seen when only `unique` differ: D' = U + U R (1 - exp(-(D/U - 1)/R)), R = 15.39
// (Muennighoff et al. 2023, arXiv 2305.16264, eq. 5 with its R_D*).
double iso_recipe_effective_tokens(double tokens, double unique);
#endif
