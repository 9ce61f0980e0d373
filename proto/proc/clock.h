/* clock.h - the only place that asks the system for time, sleep and randomness. */
#ifndef PST_CLOCK_H
#define PST_CLOCK_H

#include "base/base.h"
#include "penstock/id.h"

pst_ns_t pst_clock_mono(void);   /* CLOCK_MONOTONIC, ns */
uint64_t pst_clock_wall_ms(void); /* CLOCK_REALTIME, ms since 1970 */
void pst_clock_sleep(pst_ns_t d);   /* or until a signal comes */
void pst_random(void *p, size_t n); /* getrandom; aborts if the kernel has none */
uint64_t pst_random_u64(void);
pst_id_t pst_id_new(void);          /* of now, and chance */

#endif
