/* track.h - how often each prompt text was called, so that a test can tell "once" from "twice".
 *
 * A text is known by a 64-bit hash: among 2 million texts the chance of any collision is about
 * 10^-7.  The table is split into shards with a lock each; a shard doubles when it is 3/4 full, at
 * 24 bytes a slot. */
#ifndef SIM_TRACK_H
#define SIM_TRACK_H

#include "base/buf.h"

typedef struct sim_track sim_track_t;

typedef struct sim_calls {
    uint32_t tries;    /* calls that passed validation and limits; what [[500xN]] counts */
    uint32_t accepted; /* of them: began to be processed */
    uint32_t answered; /* of them: got a real answer */
} sim_calls_t;

typedef struct sim_track_sums {
    uint64_t unique_texts;      /* accepted at least once */
    uint64_t repeated_texts;    /* accepted more than once */
    uint64_t calls_of_repeated; /* accepted calls of those */
    uint64_t answered_texts;    /* answered at least once */
    uint64_t answered_again;    /* answers beyond the first of each text: paid for nothing */
} sim_track_sums_t;

uint64_t sim_hash(pst_view_t text);
uint64_t sim_mix(uint64_t a, uint64_t b); /* both spread over 64 bits */
uint64_t sim_scramble(uint64_t x);        /* the same, and no two numbers become one */

sim_track_t *sim_track_new(void);
void sim_track_destroy(sim_track_t **t);
uint32_t sim_track_try(sim_track_t *t,
                       uint64_t hash); /* this call's number among the text's tries, from 1 */
void sim_track_accept(sim_track_t *t, uint64_t hash, pst_view_t text);
void sim_track_answer(sim_track_t *t, uint64_t hash);
sim_calls_t sim_track_get(sim_track_t *t, uint64_t hash); /* zeros if unknown */
sim_track_sums_t sim_track_sums(sim_track_t *t);
void sim_track_put_repeats(sim_track_t *t,
                           pst_buf_t *b); /* JSON array of the first 1,000 repeated texts */
void sim_track_reset(sim_track_t *t);

#endif
