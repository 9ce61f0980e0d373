/* limit.h - requests and tokens a minute, measured as providers measure them.  All or nothing: a
 * request takes from both or from neither, and a refusal changes nothing.  Pure but for its lock.
 */
#ifndef SIM_LIMIT_H
#define SIM_LIMIT_H

#include "settings.h"

#include <pthread.h>

/* One dimension.  In a continuous bucket `level` is what is left of its capacity, and may be below
 * zero after a request larger than the whole bucket, which is admitted when the bucket is full.
 * In a window `level` is what has been used of it. */
typedef struct sim_meter {
    double level;
    pst_ns_t at; /* continuous: when level held; window: its start */
    /* What level was made for; anything else starts afresh. */
    double per_minute;
    double capacity;
    sim_bucket_t bucket;
} sim_meter_t;

typedef struct sim_limit {
    pthread_mutex_t lock;
    sim_meter_t requests, tokens;
} sim_limit_t;

/* What the headers tell of one dimension. */
typedef struct sim_allowance {
    double limit; /* a minute; 0: this dimension is not limited */
    double left;
    pst_ns_t reset; /* until it is full again */
} sim_allowance_t;

typedef struct sim_grant {
    sim_allowance_t requests, tokens;
    bool for_tokens; /* refused because of tokens, otherwise because of requests */
    pst_ns_t wait;   /* refused: when it would be granted */
} sim_grant_t;

void sim_limit_init(sim_limit_t *l);
void sim_limit_reset(sim_limit_t *l); /* buckets full, windows unused */
/* now: since the start.  True if granted; *ret is filled either way. */
bool sim_limit_take(sim_limit_t *l, const sim_settings_t *s, pst_ns_t now, double tokens,
                    sim_grant_t *ret);

#endif
