/* hist.c - histograms of PST_HIST_BUCKETS buckets, four an octave: bucket 4k + q holds
 * [2^k (1 + q/4), 2^k (1 + (q+1)/4)), linear inside the octave; 0 is in the first. */
#include "core/internal.h"

uint32_t hist_bucket(uint64_t v)
{
    if (v < 1)
        return 0;
    uint32_t octave = 63 - (uint32_t)__builtin_clzll(v);
    uint32_t quarter = (uint32_t)(((v << 2) >> octave) & 3);
    return PST_MIN(octave * 4 + quarter, PST_HIST_BUCKETS - 1);
}

/* Upper edge of a bucket. */
static double edge(uint32_t bucket)
{
    return ((bucket & 3) + 5) * (double)(1u << (bucket >> 2)) / 4;
}

uint32_t hist_quantile(const uint32_t hist[PST_HIST_BUCKETS], uint64_t n, unsigned per_cent)
{
    uint64_t want = (n * per_cent + 99) / 100, seen = 0;
    for (uint32_t i = 0; i < PST_HIST_BUCKETS; i++) {
        seen += hist[i];
        if (seen >= want && want > 0)
            return (uint32_t)edge(i);
    }
    return 0;
}

double hist_within(const uint32_t hist[PST_HIST_BUCKETS], uint64_t n, unsigned per_cent)
{
    double want = (double)n * per_cent / 100, seen = 0, low = 0;
    for (uint32_t i = 0; i < PST_HIST_BUCKETS; i++) {
        double high = edge(i);
        if (hist[i] && seen + hist[i] >= want)
            return low + (high - low) * PST_MAX(want - seen, 0.0) / hist[i];
        seen += hist[i];
        low = high;
    }
    return low;
}
