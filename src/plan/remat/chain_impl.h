// Shared by chain.c and front.c: a few atoms of a chain as a small problem of their own.
#ifndef ISO_PLAN_REMAT_CHAIN_IMPL_H
#define ISO_PLAN_REMAT_CHAIN_IMPL_H
#include "plan/remat/remat.h"

// Nodes of `d`: gradients that wait at its start, forward values, backward values. The value that enters is always there and left out;
// gradients that leave are results.
typedef struct iso_remat_group {
  iso_remat_dag *d;  // owned
  int waits, forward;
  int *real;  // [d->n] owned: node of the whole graph
  bool tail;  // holds the chain's last atom
} iso_remat_group;
iso_status iso_remat_group_open(const iso_remat_dag *d, const iso_remat_chain *c, int atom, int atoms, iso_remat_group *out, iso_err *err);
void iso_remat_group_close(iso_remat_group *g);
bool iso_remat_group_same(const iso_remat_group *a, const iso_remat_group *b);

// Writes schedules of ranges of atoms.
typedef struct iso_remat_writer {
  const iso_remat_dag *d;
  const iso_remat_chain *c;
  int *last;   // [n] last reader that is computed once, -1 none
  bool *need;  // [n] work space
  iso_remat_schedule *out;
} iso_remat_writer;
iso_status iso_remat_writer_open(iso_remat_writer *w, const iso_remat_dag *d, const iso_remat_chain *c, iso_remat_schedule *out, iso_err *err);
void iso_remat_writer_close(iso_remat_writer *w);
// Runs atoms [a, b) forward: what goes on stays, and the nodes that `keep` marks (by index, NULL none). The value that enters stays.
iso_status iso_remat_write_forward(iso_remat_writer *w, int a, int b, const bool *keep, iso_err *err);
// Computes what the backward pass of atoms [a, b) reads, keeps it, and runs that pass.
iso_status iso_remat_write_whole(iso_remat_writer *w, int a, int b, iso_err *err);
#endif
