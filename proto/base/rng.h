/* rng.h - xoshiro256** seeded through splitmix64: small, fast, repeatable.  Not for secrets.
 * (Algorithms by Blackman and Vigna, public domain; written here from their description.) */
#ifndef PST_RNG_H
#define PST_RNG_H

#include "base/base.h"

typedef struct pst_rng {
    uint64_t s[4];
} pst_rng_t;

void pst_rng_seed(pst_rng_t *r, uint64_t seed);
uint64_t pst_rng_next(pst_rng_t *r);
uint64_t pst_rng_below(pst_rng_t *r, uint64_t n); /* uniform in [0, n); n > 0 */
double pst_rng_unit(pst_rng_t *r);                /* [0, 1) */

#endif
