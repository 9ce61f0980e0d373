/* counters.h - what happened, for one model or in all.  Atomics, as all threads add to them. */
#ifndef SIM_COUNTERS_H
#define SIM_COUNTERS_H

#include "base/buf.h"

#include <stdatomic.h>

#define SIM_STATUS_MIN 100
#define SIM_STATUS_MAX 599

/* X(member): plain sums, in the order they are shown. */
#define SIM_SUMS(X)                                                                                \
    X(requests)        /* calls that came, whatever became of them */                              \
    X(accepted)        /* began to be processed: not refused by us, by a fault or by a marker */   \
    X(answered)        /* 200 with a real answer, handed to the socket */                          \
    X(refused_429)     /* refused by rpm, tpm or concurrency */                                    \
    X(cut)             /* connection closed instead of an answer: faults, markers, outages */      \
    X(cut_mid)         /* closed in the middle of one */                                           \
    X(hung)            /* never answered */                                                        \
    X(abandoned)       /* the client went away before its answer */                                \
    X(input_tokens)    /* of answered calls */                                                     \
    X(output_tokens)

/* Calls in each second since the start; only the largest number is kept. */
typedef struct sim_rate {
    _Atomic uint64_t now; /* second << 24 | calls in it */
    _Atomic uint64_t max;
} sim_rate_t;

typedef struct sim_counters {
#define X(member) _Atomic uint64_t member;
    SIM_SUMS(X)
#undef X
    _Atomic int64_t in_flight;
    _Atomic int64_t max_in_flight;
    sim_rate_t arrivals, starts; /* requests, and accepted ones */
    _Atomic uint64_t status[SIM_STATUS_MAX - SIM_STATUS_MIN + 1];
} sim_counters_t;

static inline void sim_add(_Atomic uint64_t *c, uint64_t n)
{
    atomic_fetch_add_explicit(c, n, memory_order_relaxed);
}
void sim_rate_add(sim_rate_t *r, pst_ns_t now);
/* False, and nothing done, if `most` (0: any number) are in flight already. */
bool sim_flight_begin(sim_counters_t *c, int64_t most);
void sim_flight_end(sim_counters_t *c);
void sim_count_status(sim_counters_t *c, int status);
void sim_counters_reset(sim_counters_t *c); /* all but in_flight, which stays true */
void sim_counters_put(sim_counters_t *c, pst_buf_t *b); /* members of a JSON object, no braces */

#endif
