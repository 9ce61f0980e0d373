#include "base/rng.h"

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void pst_rng_seed(pst_rng_t *r, uint64_t seed)
{
    for (size_t i = 0; i < PST_COUNT(r->s); i++)
        r->s[i] = splitmix(&seed);
}

uint64_t pst_rng_next(pst_rng_t *r)
{
    uint64_t *s = r->s;
    uint64_t ret = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return ret;
}

/* Draws below 2^64 mod n are thrown away: what is left divides evenly. */
uint64_t pst_rng_below(pst_rng_t *r, uint64_t n)
{
    PST_ASSERT(n > 0);
    uint64_t uneven = -n % n;
    uint64_t x;
    do
        x = pst_rng_next(r);
    while (x < uneven);
    return x % n;
}

double pst_rng_unit(pst_rng_t *r)
{
    return (double)(pst_rng_next(r) >> 11) * 0x1p-53;
}
