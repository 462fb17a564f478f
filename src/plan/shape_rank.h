// Shapes ranked by measurement: who is beaten at equal parameters, FLOPs or speed, and whether the loss ranks as the downstream score does.
#ifndef ISO_PLAN_SHAPE_RANK_H
#define ISO_PLAN_SHAPE_RANK_H
#include "base/csv.h"

typedef struct iso_shape_run {
  char name[48];
  double params, flop, speed;   // speed: more is better, in any unit; NaN: not measured
  double upstream, downstream;  // loss, less is better; score, more is better
  int64_t line;                 // in the file
} iso_shape_run;

// Columns params, flops, upstream (or loss) and downstream (or score), optionally speed and name (compared as in base/csv.h). Rows without a
// loss or a score are left out. *out is owned by the caller. ISO_EFORMAT names line and column; ISO_EINVAL for fewer than two rows.
iso_status iso_shape_runs_read(const iso_csv *t, iso_shape_run **out, int64_t *n, iso_err *err);

// What is held equal. Sizes within a share of each other count as equal.
typedef enum iso_shape_axis { ISO_SHAPE_PARAMS, ISO_SHAPE_FLOP, ISO_SHAPE_SPEED, ISO_SHAPE_AXES } iso_shape_axis;
const char *iso_shape_axis_name(iso_shape_axis a);  // "params", "flops", "speed"

// Kendall's tau-b between the orders by loss and by score, over pairs of runs; an interval by resampling runs.
typedef struct iso_shape_tau {
  int64_t pairs, concordant, discordant;  // pairs: with ties
  double tau, lo, hi;                     // NaN: without pairs, or all tied; the interval is NaN where every resample says the same
} iso_shape_tau;
enum { ISO_SHAPE_TAU_PARAMS, ISO_SHAPE_TAU_FLOP, ISO_SHAPE_TAU_ALL, ISO_SHAPE_TAUS };  // pairs of equal parameters, of equal FLOPs, all

// A pair of equal parameters or FLOPs that the two disagree on.
typedef struct iso_shape_clash {
  int64_t up, down;        // better by loss, by score
  bool params, flop;       // which are equal
  double d_loss, d_score;  // differences, both above 0
} iso_shape_clash;

typedef struct iso_shape_rank_opts {
  bool downstream;  // rank by the score, else by the loss
  double within;    // share by which equal sizes may differ
  int64_t resamples;
  uint64_t seed;
  double level;
} iso_shape_rank_opts;
// Upstream, 10%, 1,000 resamples, seed 0, 90%.
iso_shape_rank_opts iso_shape_rank_opts_default(void);

typedef struct iso_shape_rank {
  int64_t n;
  int64_t *order;                        // owned: n, best first
  int64_t (*beaten_by)[ISO_SHAPE_AXES];  // owned: n; the best run that takes no more and is better; -1: on the front, or not measured
  bool (*other_front)[ISO_SHAPE_AXES];   // owned: n; on the front of the other quality
  iso_shape_tau tau[ISO_SHAPE_TAUS];
  int64_t n_clash;
  iso_shape_clash *clash;  // owned, by d_score, largest first
} iso_shape_rank;
// Run j beats run i when it takes at most (1 + within) times i's parameters or FLOPs (or has 1 / (1 + within) of its speed) and is better,
// or is as good and takes less than 1 / (1 + within) of it. ISO_EINVAL for fewer than two runs or bad options. Close with
// iso_shape_rank_close.
iso_status iso_shape_rank_run(const iso_shape_run *r, int64_t n, const iso_shape_rank_opts *o, iso_shape_rank *out, iso_err *err);
void iso_shape_rank_close(iso_shape_rank *k);
#endif
