// One replica: admits, prefills, decodes, preempts; stretches of equal iterations are summed, not stepped through.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/serve/sim_impl.h"

static void push_tail(sim_node *n, sim_list *l, int32_t r) {
  n->req[r].prev = l->tail;
  n->req[r].next = SIM_NONE;
  *(l->tail == SIM_NONE ? &l->head : &n->req[l->tail].next) = r;
  l->tail = r;
  l->n++;
}

static void push_head(sim_node *n, sim_list *l, int32_t r) {
  n->req[r].next = l->head;
  n->req[r].prev = SIM_NONE;
  *(l->head == SIM_NONE ? &l->tail : &n->req[l->head].prev) = r;
  l->head = r;
  l->n++;
}

static void unlink_req(sim_node *n, sim_list *l, int32_t r) {
  sim_req *q = &n->req[r];
  *(q->prev == SIM_NONE ? &l->head : &n->req[q->prev].next) = q->next;
  *(q->next == SIM_NONE ? &l->tail : &n->req[q->next].prev) = q->prev;
  l->n--;
}

iso_status sim_node_open(sim_node *n, const iso_sim_node *cfg, sim_req *req, sim_tally *tally, iso_err *err) {
  memset(n, 0, sizeof *n);
  n->cfg = cfg;
  n->req = req;
  n->tally = tally;
  n->waiting = n->prefill = n->running = (sim_list){SIM_NONE, SIM_NONE, 0};
  n->heap_cap = n->cohort_cap = 64;
  n->heap = malloc((size_t)n->heap_cap * sizeof *n->heap);
  n->cohort = malloc((size_t)n->cohort_cap * sizeof *n->cohort);
  if (n->heap && n->cohort) return ISO_OK;
  sim_node_close(n);
  return iso_fail(err, ISO_ENOMEM, "simulation: no memory for a node");
}

void sim_node_close(sim_node *n) {
  free(n->heap);
  free(n->cohort);
  n->heap = NULL;
  n->cohort = NULL;
}

// ---- when requests end ----

static bool grow(void **at, int64_t *cap, size_t size) {
  void *p = realloc(*at, 2 * (size_t)*cap * size);
  if (!p) return false;
  *at = p;
  *cap *= 2;
  return true;
}

static void heap_push(sim_node *n, sim_end e) {
  if (n->heap_n == n->heap_cap && !grow((void **)&n->heap, &n->heap_cap, sizeof *n->heap)) {
    n->status = ISO_ENOMEM;
    return;
  }
  int64_t i = n->heap_n++;
  while (i > 0 && n->heap[(i - 1) / 2].at > e.at) {
    n->heap[i] = n->heap[(i - 1) / 2];
    i = (i - 1) / 2;
  }
  n->heap[i] = e;
}

static void heap_pop(sim_node *n) {
  sim_end e = n->heap[--n->heap_n];
  int64_t i = 0;
  for (;;) {
    int64_t c = 2 * i + 1;
    if (c >= n->heap_n) break;
    if (c + 1 < n->heap_n && n->heap[c + 1].at < n->heap[c].at) c++;
    if (n->heap[c].at >= e.at) break;
    n->heap[i] = n->heap[c];
    i = c;
  }
  n->heap[i] = e;
}

// The earliest end that is still true; false when nothing decodes.
static bool heap_top(sim_node *n, sim_end *e) {
  while (n->heap_n > 0) {
    *e = n->heap[0];
    if (n->req[e->req].stay == e->stay) return true;
    heap_pop(n);
  }
  return false;
}

// ---- tokens ----

static void cohort_join(sim_node *n, double last_s) {
  if (n->cohorts > 0 && n->cohort[n->cohorts - 1].last_s == last_s) {
    n->cohort[n->cohorts - 1].n++;
    return;
  }
  if (n->cohorts == n->cohort_cap && !grow((void **)&n->cohort, &n->cohort_cap, sizeof *n->cohort)) {
    n->status = ISO_ENOMEM;
    return;
  }
  n->cohort[n->cohorts++] = (sim_cohort){last_s, 1};
}

// A request leaves the decoding ones right after a token of all of them, or (preempted) as the one that joined last.
static void cohort_leave(sim_node *n) {
  sim_cohort *c = &n->cohort[n->cohorts - 1];
  if (--c->n == 0) n->cohorts--;
}

static void leave(sim_node *n, int32_t r) {
  n->req[r].stay++;
  n->kv_tok -= n->req[r].prompt + n->req[r].made;
  n->reserved_tok -= (double)n->req[r].prompt + n->req[r].output;
}

void sim_missed(sim_tally *t) {
  t->missed++;
  if (t->need > 0 && (double)(t->requests - t->missed) / (double)t->requests < t->need) t->stopped = true;
}

bool sim_late(const sim_tally *t, int32_t r, double first_s) { return first_s - t->at[r].arrival_s > t->slo_ttft_s; }

static void finish(sim_node *n, int32_t r) {
  sim_req *q = &n->req[r];
  q->last_s = n->now_s;
  if (q->output > 1 && !sim_late(n->tally, r, q->first_s) && (q->last_s - q->first_s) / (q->output - 1) > n->tally->slo_itl_s) sim_missed(n->tally);
  leave(n, r);
}

// Ends requests whose last token came in the latest decode iteration.
static void finish_due(sim_node *n) {
  sim_end e;
  while (heap_top(n, &e) && e.at <= n->iter) {
    sim_req *q = &n->req[e.req];
    heap_pop(n);
    unlink_req(n, &n->running, e.req);
    q->made = q->output;
    n->ctx_tok -= q->prompt + q->made;
    cohort_leave(n);
    finish(n, e.req);
  }
}

// Books k decode iterations of all running sequences that took `first` to `last` seconds and began at begin_s; now_s is their end.
static void decoded(sim_node *n, double begin_s, double k, double first, double last) {
  double seqs = (double)n->running.n, prompt = 0, late = 0;
  for (int64_t i = 0; i < n->cohorts && !(n->tally->need > 0); i++) {
    const sim_cohort *c = &n->cohort[i];
    double waited = begin_s - c->last_s;
    if (waited > 0) sim_hist_add(&n->tally->itl, waited + first, waited + first, 1, (double)c->n);
    *(waited > 0 ? &late : &prompt) += (double)c->n;
  }
  if (prompt > 0) sim_hist_add(&n->tally->itl, first, last, k, prompt);
  if (late > 0 && k > 1) sim_hist_add(&n->tally->itl, first + (last - first) / (k - 1), last, k - 1, late);
  n->cohorts = 1;
  n->cohort[0] = (sim_cohort){n->now_s, n->running.n};
  n->iter += (int64_t)k;
  n->ctx_tok += k * seqs;
  n->kv_tok += k * seqs;
  n->load_tok -= k * seqs;
  n->emitted_tok += k * seqs;
  n->kv_peak = fmax(n->kv_peak, n->kv_tok);
  n->tally->iterations += (int64_t)k;
}

static double step(sim_node *n, double prefill, double prefill_ctx, double seqs, double ctx) {
  double t = n->cfg->step(n->cfg->self, prefill, prefill_ctx, seqs, ctx);
  if (t > 0 && t < 1e12) return t;
  if (n->status == ISO_OK) n->status = ISO_ENUM;
  return 1;
}

// ---- residence ----

static bool admissible(const sim_node *n, int32_t r) {
  const sim_req *q = &n->req[r];
  int64_t resident = n->running.n + n->prefill.n;
  if (resident >= n->cfg->max_seqs) return false;
  if (n->cfg->reserve) return n->reserved_tok + q->prompt + q->output <= n->cfg->kv_tok;
  double spare = resident > 0 ? 0.01 * n->cfg->kv_tok : 0;  // else the newcomer would be preempted at once
  return n->kv_tok + q->prompt + q->made + 1 + spare <= n->cfg->kv_tok;
}

static void admit(sim_node *n, int32_t r) {
  unlink_req(n, &n->waiting, r);
  push_tail(n, &n->prefill, r);
  n->kv_tok += n->req[r].prompt + n->req[r].made;
  n->reserved_tok += (double)n->req[r].prompt + n->req[r].output;
  n->kv_peak = fmax(n->kv_peak, n->kv_tok);
}

// Sends the latest resident back to the head of the queue; what it had cached is computed again.
static void preempt(sim_node *n) {
  bool young = n->prefill.n > 0;
  int32_t r = young ? n->prefill.tail : n->running.tail;
  sim_req *q = &n->req[r];
  unlink_req(n, young ? &n->prefill : &n->running, r);
  if (!young) {
    q->made += (int32_t)(n->iter - q->start);
    n->ctx_tok -= q->prompt + q->made;
    q->last_s = n->cohort[n->cohorts - 1].last_s;
    cohort_leave(n);
  }
  leave(n, r);
  n->load_tok += q->prompt + q->made - q->need;
  q->need = q->prompt + q->made;
  push_head(n, &n->waiting, r);
  n->tally->preemptions++;
}

// Makes room for the next token of every sequence. A lone request always fits: larger ones are refused at the door.
static void make_room(sim_node *n) {
  if (n->cfg->reserve) return;
  while (n->running.n + n->prefill.n > 1 && n->kv_tok + (double)(n->running.n + n->prefill.n) > n->cfg->kv_tok) preempt(n);
}

// A resident whose prompt is cached emits a token (unless its node only decodes on from one) and decodes, or ends.
static void start_decoding(sim_node *n, int32_t r, bool emits) {
  sim_req *q = &n->req[r];
  unlink_req(n, &n->prefill, r);
  if (emits) {
    if (q->made == 0) {
      q->first_s = n->now_s;
      if (sim_late(n->tally, r, q->first_s)) sim_missed(n->tally);
    } else {
      sim_hist_add(&n->tally->itl, n->now_s - q->last_s, n->now_s - q->last_s, 1, 1);
    }
    q->made++;
    q->last_s = n->now_s;
    n->kv_tok++;
    n->load_tok--;
    n->emitted_tok++;
  }
  if (q->made == q->output || n->hand_over) {
    if (n->hand_over) n->load_tok -= q->output - q->made;
    finish(n, r);
    return;
  }
  push_tail(n, &n->running, r);
  q->start = n->iter;
  n->ctx_tok += q->prompt + q->made;
  heap_push(n, (sim_end){n->iter + q->output - q->made, r, q->stay});
  cohort_join(n, q->last_s);
}

// ---- iterations ----

static void spend(sim_node *n, double t, double decode_part) {
  n->now_s += t;
  n->busy_s += t;
  n->seq_s += t * (double)n->running.n;
  n->tally->decode_j += decode_part * n->cfg->decode_w;
  n->tally->prefill_j += (t - decode_part) * n->cfg->prefill_w;
}

// Fills an iteration with prompt tokens, oldest first: those begun, then waiting ones as they are admitted. *ctx sums token x context.
static double fill(sim_node *n, double budget, double *ctx) {
  double tok = 0;
  int32_t r = n->prefill.head;
  *ctx = 0;
  while (tok < budget) {
    if (r == SIM_NONE) {
      r = n->waiting.head;
      if (r == SIM_NONE || n->req[r].need == 0 || !admissible(n, r)) break;  // need 0: admit_cached lets it in
      if (n->cfg->exclusive && tok > 0 && tok + n->req[r].need > budget) break;
      admit(n, r);
    }
    sim_req *q = &n->req[r];
    double take = n->cfg->exclusive ? q->need : fmin(q->need, budget - tok), before = (double)q->prompt + q->made - q->need;
    *ctx += take * (before + take / 2);
    q->need -= (int32_t)take;
    tok += take;
    n->load_tok -= take;
    r = q->next;
  }
  return tok;
}

// One iteration with prompt tokens in it; false when there are none to process.
static bool prefill_iteration(sim_node *n) {
  bool alone = n->cfg->exclusive || n->running.n == 0;
  double budget = fmax(1, (double)n->cfg->chunk_tok - (n->cfg->exclusive ? 0 : (double)n->running.n)), ctx, begin = n->now_s;
  double tok = fill(n, budget, &ctx);
  if (!(tok > 0)) return false;
  double seqs = alone ? 0 : (double)n->running.n;
  double t = step(n, tok, ctx / tok, seqs, alone ? 0 : n->ctx_tok), decode = 0;  // its part of the time, for the energy
  if (!alone && !(n->tally->need > 0)) decode = fmin(t, step(n, 0, 0, seqs, n->ctx_tok));
  spend(n, t, decode);
  n->tally->stretches++;
  if (alone) {
    n->tally->iterations++;
  } else {
    decoded(n, begin, 1, t, t);
    finish_due(n);
  }
  while (n->prefill.head != SIM_NONE && n->req[n->prefill.head].need == 0) start_decoding(n, n->prefill.head, true);
  return true;
}

// The least k in [1, most] with k iterations lasting `limit` or more: first + (first + slope) + ... >= limit.
static double iterations_until(double limit, double first, double slope, double most) {
  double a = slope / 2, b = first - a, k = limit / first;
  if (fabs(a) > 1e-9 * first) {
    double disc = b * b + 4 * a * limit;
    k = disc >= 0 ? (sqrt(disc) - b) / (2 * a) : most;
  }
  k = fmin(fmax(1, ceil(k * (1 - 1e-12))), most);
  while (k < most && k * (b + a * k) < limit) k++;
  while (k > 1 && (k - 1) * (b + a * (k - 1)) >= limit) k--;
  return k;
}

// Decode iterations up to the next event: an end, a full cache, an arrival that could be admitted, a tenth more context.
static void decode_stretch(sim_node *n, double until) {
  sim_end e;
  double seqs = (double)n->running.n, begin = n->now_s, k = 1;
  if (heap_top(n, &e)) k = (double)(e.at - n->iter);
  if (!n->cfg->reserve) k = fmin(k, floor((n->cfg->kv_tok - n->kv_tok) / seqs));
  k = fmax(1, fmin(k, floor(0.1 * n->ctx_tok / seqs)));
  double first = step(n, 0, 0, seqs, n->ctx_tok), last = k > 1 ? step(n, 0, 0, seqs, n->ctx_tok + (k - 1) * seqs) : first;
  double slope = k > 1 ? (last - first) / (k - 1) : 0;
  if (n->waiting.n == 0 && until - begin < k * (first + last) / 2) {
    k = iterations_until(until - begin, first, slope, k);
    last = first + slope * (k - 1);
  }
  double t = k * (first + last) / 2;
  spend(n, t, t);
  n->tally->stretches++;
  decoded(n, begin, k, first, last);
  finish_due(n);
}

// Decode nodes: prompts come with their cache.
static void admit_cached(sim_node *n) {
  int32_t r;
  while ((r = n->waiting.head) != SIM_NONE && n->req[r].need == 0 && n->prefill.n == 0 && admissible(n, r)) {
    admit(n, r);
    start_decoding(n, r, false);
  }
}

void sim_node_take(sim_node *n, int32_t r) {
  sim_req *q = &n->req[r];
  if (n->waiting.n + n->prefill.n + n->running.n == 0) n->now_s = fmax(n->now_s, q->ready_s);
  push_tail(n, &n->waiting, r);
  n->load_tok += (double)q->need + q->output - q->made;
  n->requests++;
}

void sim_node_advance(sim_node *n, double until) {
  while (n->now_s < until && n->status == ISO_OK && !n->tally->stopped) {
    if (n->waiting.n + n->prefill.n + n->running.n == 0) break;
    admit_cached(n);
    make_room(n);
    if (prefill_iteration(n)) continue;
    if (n->running.n > 0) decode_stretch(n, until);
  }
}
