// Rematerialisation: which values a training step keeps and which it computes again, under a limit of bytes.
#ifndef ISO_PLAN_REMAT_H
#define ISO_PLAN_REMAT_H
#include "base/arena.h"
#include "graph/dim.h"
#include "model/config.h"

// ---- The problem: a DAG in execution order (every input precedes its reader).
enum { ISO_REMAT_INPUTS = 10 };
typedef struct iso_remat_node {
  const char *name;  // in the DAG's arena
  double cost;       // of one computation, in the unit that is minimised: FLOPs or seconds
  double flop;       // of one computation
  int64_t bytes;     // of its output
  int64_t work_b;    // more that it needs while it is computed
  int n_in, in[ISO_REMAT_INPUTS];
  int inplace;  // the input whose buffer the output takes over, -1 none
  bool once;    // never computed again: gradients, and all that adds to something
  bool result;  // must be there at the end
  bool own;     // the trainer's arena gives all of it a place of its own (pass_memory.c)
  int layer;    // iteration of the repeated block that it belongs to, -1 none
} iso_remat_node;

typedef struct iso_remat_dag {
  iso_arena *arena;  // owned
  int n, cap;
  iso_remat_node *node;  // in the arena
} iso_remat_dag;

iso_status iso_remat_open(iso_remat_dag **out, iso_err *err);
void iso_remat_close(iso_remat_dag *d);
// Appends a node (copied, the name too); repeated inputs count once. ISO_EINVAL for an input that does not precede it, negative bytes or
// costs, and an in-place operand that is no input.
iso_status iso_remat_add(iso_remat_dag *d, const iso_remat_node *n, int *index, iso_err *err);
// Nodes before the first that is computed once. ISO_EUNSUP when one that may be repeated comes after it.
iso_status iso_remat_forward(const iso_remat_dag *d, int *n, iso_err *err);

// ---- A schedule: computations and frees, one after the other.
typedef struct iso_remat_step {
  int node;
  bool drop;  // frees the value instead of computing it
} iso_remat_step;
typedef struct iso_remat_schedule {
  iso_remat_step *step;  // owned
  int n, cap;
} iso_remat_schedule;
void iso_remat_schedule_close(iso_remat_schedule *s);
iso_status iso_remat_push(iso_remat_schedule *s, int node, bool drop, iso_err *err);

typedef struct iso_remat_use {
  int64_t peak_b;
  int peak_step;
  double cost, flop;              // all computations
  double extra_cost, extra_flop;  // beyond one computation of every node
  int again;                      // computations beyond the first
  int intervals;                  // most retention intervals of a value (Moccasin's C)
} iso_remat_use;
// Plays a schedule through: the judge of every planner. Inputs and output of a running node are there together, but for in-place outputs.
// ISO_EBUG names the step that reads a value that is not there, computes one that is, repeats what may be computed once, or what is missing
// at the end.
iso_status iso_remat_replay(const iso_remat_dag *d, const iso_remat_schedule *s, iso_remat_use *out, iso_err *err);

// ---- Simple plans. All are schedules; replay tells what they take.
// Every value stays until its last reader is done. `arena`: those with a place of their own stay to the end, as the trainer's arena has it.
iso_status iso_remat_keep_all(const iso_remat_dag *d, bool arena, iso_remat_schedule *out, iso_err *err);
// Two bits a value: it stays from its first computation to its last use; once computed again, it stays to its last use. What is not there
// when the backward pass reads it is computed again from what is.
typedef struct iso_remat_spec {
  bool *keep, *hold;  // [n] borrowed
} iso_remat_spec;
iso_status iso_remat_build(const iso_remat_dag *d, const iso_remat_spec *spec, iso_remat_schedule *out, iso_err *err);

// ---- Chains: values that alone connect what is before to what is after cut the forward pass into atoms.
typedef struct iso_remat_atom {
  int f0, f1;  // forward nodes [f0, f1); f1 - 1 is the value that goes on
  int b0, b1;  // backward nodes [b0, b1)
  int type;    // atoms of one type differ in nothing but their place
} iso_remat_atom;
typedef struct iso_remat_chain {
  int n, types;
  iso_remat_atom *atom;  // owned
  int64_t *wait_b;       // [n] owned: gradients that wait before the backward pass of an atom
} iso_remat_chain;
iso_status iso_remat_chain_open(const iso_remat_dag *d, iso_remat_chain **out, iso_err *err);
void iso_remat_chain_close(iso_remat_chain *c);

// Where a range of steps of a chain is split: the length of the left part, 1 .. len - 1, or 0 for no split. `depth`: values kept above.
typedef int (*iso_remat_split_fn)(void *arg, int len, int depth);
// Steps (`step[i]`: the first atom of step i) are run forward to the split, its value is kept, the right part is done, then the left one
// from its start again. What is not split is computed whole, kept and differentiated. All recursive schemes are of this form.
iso_status iso_remat_tree(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, iso_remat_split_fn split, void *arg,
                          iso_remat_schedule *out, iso_err *err);
// Chen et al. 2016 (arXiv 1604.06174): steps in groups of `every`; only the values between groups stay. The last group is kept whole.
iso_status iso_remat_every(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, int every, iso_remat_schedule *out,
                           iso_err *err);
// The group size that keeps least, about sqrt(steps).
int iso_remat_sqrt(int steps);
// The same paper's recursion: halves, and halves of them.
iso_status iso_remat_halves(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, iso_remat_schedule *out, iso_err *err);
// Griewank and Walther 2000 (revolve, doi 10.1145/347837.347846): the fewest forward steps with `slots` values kept, the first one included.
iso_status iso_remat_revolve(const iso_remat_dag *d, const iso_remat_chain *c, const int *step, int steps, int slots, iso_remat_schedule *out,
                             iso_err *err);
// Forward steps that revolve takes before each step's own: r l - C(s + r, r - 1) with C(s + r - 1, s) < l <= C(s + r, s). -1: slots < 1.
int64_t iso_remat_revolve_steps(int64_t steps, int64_t slots);
// Longest chain in which no step runs more than `repeats` times forward: C(slots + repeats, slots).
int64_t iso_remat_revolve_length(int64_t slots, int64_t repeats);
// First atom of each layer; what precedes the first layer belongs to it, what follows the last one to that. *step is owned by the caller.
iso_status iso_remat_layers(const iso_remat_dag *d, const iso_remat_chain *c, int **step, int *n, iso_err *err);

// ---- Exact, small: the cheapest schedule of all with the nodes' first computations in order, with any number of retention intervals a value,
// or at most so many: Moccasin's C (arXiv 2304.14463), which takes 2.
enum { ISO_REMAT_INTERVALS = 6 };  // C is less
typedef struct iso_remat_start {
  int first;      // nodes before this one have been computed
  uint64_t live;  // of these, those that are there
} iso_remat_start;
typedef struct iso_remat_answer {
  bool found;      // a schedule under the limit
  bool optimal;    // nothing is cheaper
  double cost;     // of it, +INFINITY without one
  double bound;    // no schedule costs less; +INFINITY: none exists
  int64_t states;  // seen
} iso_remat_answer;
// A* over (nodes computed, values there), at most 63 nodes, at most max_states states. again: computations of a value beyond the first, that
// before the start included, C - 1; -1: any number. With a number, how often each was computed is part of the state. schedule may be NULL. NULL
// start: from nothing.
iso_status iso_remat_exact(const iso_remat_dag *d, int64_t limit_b, const iso_remat_start *start, int again, int64_t max_states,
                           iso_remat_answer *out, iso_remat_schedule *schedule, iso_err *err);

// ---- Exact per repeated block, combined over blocks.
typedef struct iso_remat_point {
  int64_t peak_b;
  double cost;  // of the forward values, each computation counted
} iso_remat_point;
typedef struct iso_remat_front iso_remat_front;
// All plans of this form, one for every peak where the cost falls: groups of up to two atoms keep any subset of their values and compute the
// others again at least cost (every subset is tried, each solved exactly); ranges are split as in iso_remat_tree; the best combination by
// dynamic programming over ranges (Beaumont et al. 2019, arXiv 1911.13214, with subsets in place of all or nothing). Fronts longer than
// `points` are thinned. intervals: C of all values, 0: any number. ISO_EUNSUP: an atom has too many values to enumerate.
iso_status iso_remat_front_open(const iso_remat_dag *d, const iso_remat_chain *c, int points, int intervals, iso_remat_front **out, iso_err *err);
void iso_remat_front_close(iso_remat_front *f);
int iso_remat_front_count(const iso_remat_front *f);
iso_remat_point iso_remat_front_at(const iso_remat_front *f, int i);
bool iso_remat_front_thinned(const iso_remat_front *f);
// The cheapest point under the limit, or -1.
int iso_remat_front_under(const iso_remat_front *f, int64_t limit_b);
iso_status iso_remat_front_schedule(const iso_remat_front *f, int i, iso_remat_schedule *out, iso_err *err);

// ---- Any graph: a bound and a search.
// No schedule under the limit costs less (all computations counted): when the first gradient is computed, what is there takes at most the
// limit, and all else that later gradients need must be computed again with all that this needs. The cheapest choice, in its Lagrangian
// relaxation solved by minimum cuts; +INFINITY when some node does not fit with its inputs.
iso_status iso_remat_bound(const iso_remat_dag *d, int64_t limit_b, double *out, iso_err *err);
// Least bytes that any schedule takes: the largest sum of a node's inputs, output and working space.
int64_t iso_remat_least(const iso_remat_dag *d);
// Local search over iso_remat_spec, `evals` schedules at most, the same for the same seed. intervals: C, 0: any number. *found false: none fits.
iso_status iso_remat_search(const iso_remat_dag *d, int64_t limit_b, int intervals, int64_t evals, uint64_t seed, bool *found,
                            iso_remat_schedule *out, iso_err *err);

// ---- One limit.
typedef struct iso_remat_effort {
  int64_t evals;   // schedules that the local search tries; 0: none
  int64_t states;  // of the exact search, for graphs of up to 63 values; 0: none
  uint64_t seed;
  int intervals;  // C, retention intervals of a value at most; 0: any number. The front must have been opened with the same.
} iso_remat_effort;
typedef struct iso_remat_plan {
  bool found, optimal;
  iso_remat_schedule schedule;  // owned
  iso_remat_use use;
  double bound, gap;   // no schedule costs less than bound; gap = use.cost - bound
  const char *method;  // "keep all", "per block", "search" or "exact"
} iso_remat_plan;
// The cheapest schedule that keeping all, the front (may be NULL), the local search or the exact search find, with the better of the bounds.
iso_status iso_remat_solve(const iso_remat_dag *d, const iso_remat_front *f, const iso_remat_effort *e, int64_t limit_b, iso_remat_plan *out,
                           iso_err *err);
void iso_remat_plan_close(iso_remat_plan *p);

// ---- From the graph of a model with its gradient: one node per kernel call of the forward and backward sections that yields a value.
// Ops that work in place on a value just computed are part of it. Costs in seconds, max(FLOPs / flop_s, bytes / b_s), or FLOPs when both are 0.
typedef struct iso_remat_rates {
  double flop_s, b_s;
} iso_remat_rates;
typedef struct iso_graph iso_graph;  // graph/graph.h
iso_status iso_remat_from_graph(const iso_graph *g, const iso_bind *bind, size_t elem_bytes, const iso_remat_rates *r, iso_remat_dag **out,
                                iso_err *err);
// The same from a model's shape and a batch; *params and *model_flop (matrix products of a step) may be NULL.
iso_status iso_remat_from_model(const iso_model_config *c, int64_t batch, int64_t seq, size_t elem_bytes, const iso_remat_rates *r,
                                iso_remat_dag **out, int64_t *params, double *model_flop, iso_err *err);

// What the trainer can run itself (graph/graph.h, iso_recompute): groups of layers, or the first layers and cheap values.
typedef struct iso_remat_setting {
  bool found;
  int every, layers;
  bool cheap;
  int64_t act_b;  // of the trainer's arena, which holds what is saved to the end
  double extra_flop;
} iso_remat_setting;
// The setting that computes least again among those whose arena takes room_b bytes at most.
iso_status iso_remat_trainer(const iso_model_config *c, int64_t batch, int64_t seq, size_t elem_bytes, int64_t room_b, iso_remat_setting *out,
                             iso_err *err);
#endif
