#include "limit.h"

#include <math.h>

#define MINUTE (60 * PST_SEC)

void sim_limit_init(sim_limit_t *l)
{
    *l = (sim_limit_t){0};
    pthread_mutex_init(&l->lock, NULL);
}

void sim_limit_reset(sim_limit_t *l)
{
    pthread_mutex_lock(&l->lock);
    l->requests = l->tokens = (sim_meter_t){0};
    pthread_mutex_unlock(&l->lock);
}

/* Below 60 a minute a window of a second would hold less than one: it is as long as one takes. */
static pst_ns_t window_ns(sim_bucket_t bucket, double per_minute)
{
    if (bucket == SIM_MINUTE)
        return MINUTE;
    return per_minute >= 60 ? PST_SEC : (pst_ns_t)((double)MINUTE / per_minute);
}

static double capacity_of(sim_bucket_t bucket, double per_minute, double burst_share)
{
    if (bucket == SIM_CONTINUOUS)
        return fmax(1, burst_share > 0 ? per_minute * burst_share : per_minute / 60);
    double share = (double)window_ns(bucket, per_minute) / (double)MINUTE;
    return fmax(1, floor(per_minute * share + 1e-6));
}

/* Brings the meter to `now`. */
static void advance(sim_meter_t *m, sim_bucket_t bucket, double per_minute, double capacity,
                    pst_ns_t now)
{
    bool fresh = m->per_minute != per_minute || m->capacity != capacity || m->bucket != bucket;
    m->bucket = bucket;
    m->per_minute = per_minute;
    m->capacity = capacity;
    if (bucket == SIM_CONTINUOUS) {
        double gained = (double)pst_ns_since(now, m->at) * per_minute / (double)MINUTE;
        m->level = fresh ? capacity : fmin(capacity, m->level + gained);
        m->at = now;
        return;
    }
    pst_ns_t start = now - now % window_ns(bucket, per_minute);
    if (fresh || m->at != start)
        m->level = 0;
    m->at = start;
}

/* How long until `cost` can be taken; 0: now. */
static pst_ns_t wait_for(const sim_meter_t *m, sim_bucket_t bucket, double cost, pst_ns_t now)
{
    if (bucket == SIM_CONTINUOUS) {
        double missing = fmin(cost, m->capacity) - m->level;
        return missing <= 1e-9 ? 0 : (pst_ns_t)ceil(missing * (double)MINUTE / m->per_minute);
    }
    bool fits = m->level == 0 || m->level + cost <= m->capacity;
    return fits ? 0 : m->at + window_ns(bucket, m->per_minute) - now;
}

static void spend(sim_meter_t *m, sim_bucket_t bucket, double cost)
{
    m->level += bucket == SIM_CONTINUOUS ? -cost : cost;
}

static sim_allowance_t describe(const sim_meter_t *m, sim_bucket_t bucket, pst_ns_t now)
{
    sim_allowance_t a = {.limit = m->per_minute};
    if (bucket == SIM_CONTINUOUS) {
        a.left = fmax(0, floor(m->level + 1e-9));
        a.reset = (pst_ns_t)((m->capacity - m->level) * (double)MINUTE / m->per_minute);
    } else {
        a.left = fmax(0, m->capacity - m->level);
        a.reset = m->at + window_ns(bucket, m->per_minute) - now;
    }
    return a;
}

/* Both meters, with the lock held. */
static bool take(sim_limit_t *l, const sim_settings_t *s, pst_ns_t now, double tokens,
                 sim_grant_t *ret)
{
    sim_bucket_t bucket = (sim_bucket_t)sim_get(s, SIM_BUCKET);
    double rpm = sim_get(s, SIM_RPM), tpm = sim_get(s, SIM_TPM), burst = sim_get(s, SIM_BURST);
    double burst_share = rpm > 0 ? burst / rpm : 0;
    pst_ns_t wait_requests = 0, wait_tokens = 0;
    if (rpm > 0) {
        advance(&l->requests, bucket, rpm, capacity_of(bucket, rpm, burst_share), now);
        wait_requests = wait_for(&l->requests, bucket, 1, now);
    }
    if (tpm > 0) {
        advance(&l->tokens, bucket, tpm, capacity_of(bucket, tpm, burst_share), now);
        wait_tokens = wait_for(&l->tokens, bucket, tokens, now);
    }
    ret->wait = PST_MAX(wait_requests, wait_tokens);
    ret->for_tokens = wait_tokens > wait_requests;
    if (rpm > 0) {
        if (!ret->wait)
            spend(&l->requests, bucket, 1);
        ret->requests = describe(&l->requests, bucket, now);
    }
    if (tpm > 0) {
        if (!ret->wait)
            spend(&l->tokens, bucket, tokens);
        ret->tokens = describe(&l->tokens, bucket, now);
    }
    return ret->wait == 0;
}

bool sim_limit_take(sim_limit_t *l, const sim_settings_t *s, pst_ns_t now, double tokens,
                    sim_grant_t *ret)
{
    *ret = (sim_grant_t){0};
    if (sim_get(s, SIM_RPM) <= 0 && sim_get(s, SIM_TPM) <= 0)
        return true;
    pthread_mutex_lock(&l->lock);
    bool granted = take(l, s, now, tokens, ret);
    pthread_mutex_unlock(&l->lock);
    return granted;
}
