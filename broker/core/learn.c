/* learn.c - how many requests a second an endpoint takes of which nothing is configured and whose provider's headers say
 * nothing: found out by being refused.
 *
 * Calls in flight double until one is refused (endpoint_widen).  From then on there is a rate, at first a guess, which
 * doubles every two seconds until it is refused too.  A refusal cuts it, to half while refusals follow one another (a
 * provider's burst hid how far it had gone), later by an eighth; then it returns to where it was refused, fast at
 * first, rests there, and goes on beyond it faster and faster (CUBIC's curve): nearly all the time is spent near the
 * limit, and a limit that was raised is found in some tens of seconds.  It grows only while it is what holds jobs back.
 * A cut is answered by the refusals of calls sent before it: those are one with it.
 *
 * The time back to the old rate holds at least CALLS_A_CYCLE calls, so that refusals stay below some 2 % at any rate. */
#include "core/internal.h"

#define CUT_FAR 0.5
#define CUT_NEAR 0.125
#define SEARCH_DOUBLES (2 * PST_SEC) /* after the first refusal, which may have met a burst, until the second */
#define NEAR_AFTER (4 * PST_SEC)   /* since the last cut */
#define CYCLE_MIN 8.0              /* seconds back to the old rate */
#define CALLS_A_CYCLE 80.0
#define RATE_MIN (1.0 / 60)        /* a second */
#define HELD_MAX (500 * PST_MS)    /* two looks at a held-back job that are further apart: it was not, meanwhile */
#define REFUSED_CALLS_MIN 20       /* of endpoints with some limit configured: it is too high if so many refusals … */
#define REFUSED_SHARE 0.05         /* … are such a share of calls, */
#define REFUSED_SHARE_KNOWN 0.2    /* or, where requests are limited by configuration, such a share */
#define METER (500 * PST_MS)

struct learner {
    double rate;     /* a second, now */
    double top;      /* at the last refusal */
    pst_ns_t cut_at;
    pst_ns_t grown;  /* time since then in which jobs were held back */
    pst_ns_t held_at;
    double cut;      /* share that was taken off */
    bool searching;  /* there was one refusal so far */
};

/* ---- the rate of what is sent -------------------------------------------------------------------------------------- */

void learn_start(const pst_core_t *c, endpoint_t *e)
{
    meter_t *m = &e->meter;
    pst_ns_t passed = pst_ns_since(c->now, m->since);
    if (passed >= METER) {
        m->rate = passed < 4 * METER ? m->n * (double)PST_SEC / (double)passed : 0;
        m->n = 0;
        m->since = c->now;
    }
    m->n++;
}

static double sent_a_second(const pst_core_t *c, const meter_t *m)
{
    double now = m->n * (double)PST_SEC / (double)PST_MAX(pst_ns_since(c->now, m->since), METER);
    return PST_MAX(PST_MAX(m->rate, now), RATE_MIN);
}

/* ---- the curve ------------------------------------------------------------------------------------------------------- */

static double cycle(const learner_t *l)
{
    return PST_MAX(CYCLE_MIN, CALLS_A_CYCLE / l->top);
}

static double rate_of(const learner_t *l)
{
    if (l->searching) {
        double times = (double)l->grown / (double)SEARCH_DOUBLES, rate = l->top * (1 - l->cut);
        for (; times >= 1; times--)
            rate *= 2;
        return rate * (1 + times);
    }
    double away = 1 - (double)l->grown / (double)PST_SEC / cycle(l);
    return l->top * (1 - l->cut * away * away * away);
}

void learn_held_back(pst_core_t *c, bucket_t *b)
{
    learner_t *l = b->learner;
    if (!l)
        return;
    pst_ns_t passed = pst_ns_since(c->now, l->held_at);
    l->held_at = c->now;
    if (passed > 0 && passed <= PST_MAX(HELD_MAX, (pst_ns_t)(2 / l->rate * (double)PST_SEC)))
        l->grown += passed;
    l->rate = PST_MAX(rate_of(l), RATE_MIN);
    bucket_rate(b, l->rate);
    if (b->rate[PST_RATE_REQUESTS].limit > b->kept[PST_RATE_REQUESTS]) /* below it is only on its way back */
        bucket_keep(c, b);
}

/* A provider that says how long to wait takes at least one call in that time. */
static void begin_below(const pst_core_t *c, bucket_t *b, double from, double share, uint64_t wait_ms)
{
    learner_t *l = b->learner;
    double least = wait_ms ? PST_MAX(1000.0 / (double)wait_ms, RATE_MIN) : RATE_MIN;
    l->top = from;
    l->cut = share;
    l->grown = 0;
    l->cut_at = l->held_at = c->now;
    l->rate = PST_MAX(from * (1 - share), least);
    l->top = PST_MAX(l->top, l->rate);
    bucket_rate(b, l->rate);
}

static void cut(pst_core_t *c, bucket_t *b, double from, double share, uint64_t wait_ms)
{
    begin_below(c, b, from, share, wait_ms);
    bucket_keep(c, b);
}

/* Is it the configured limit that is wrong, or only a call that met the end of a window? */
static bool limit_is_wrong(const pst_core_t *c, const endpoint_t *e)
{
    const bucket_t *account = c->providers[e->provider]->bucket;
    bool known = account && account->configured[PST_RATE_REQUESTS];
    double share = known ? REFUSED_SHARE_KNOWN : REFUSED_SHARE;
    return e->refused >= REFUSED_CALLS_MIN && e->refused >= share * (e->refused + e->answered);
}

void learn_refused(pst_core_t *c, endpoint_t *e, pst_ns_t started, uint64_t wait_ms)
{
    e->window = 0;
    e->refused++;
    e->meter.n -= e->meter.n > 0; /* what is refused does not tell what is taken */
    if (e->limited && !limit_is_wrong(c, e))
        return;
    bucket_t *b = endpoint_bucket(c, e);
    bool said = b->rate[PST_RATE_REQUESTS].limit && b->source[PST_RATE_REQUESTS] == PST_LIMIT_SAID;
    if (b->configured[PST_RATE_REQUESTS] || said)
        return;
    learner_t *l = b->learner;
    if (!l) {
        l = b->learner = pst_calloc(1, sizeof *l);
        l->searching = true;
        cut(c, b, sent_a_second(c, &e->meter), CUT_FAR, wait_ms);
        return;
    }
    if (started <= l->cut_at)
        return;
    l->searching = false;
    bool near = pst_ns_since(c->now, l->cut_at) >= NEAR_AFTER;
    cut(c, b, l->rate, near ? CUT_NEAR : CUT_FAR, wait_ms);
}

/* Both halve now and then: what was long ago counts less. */
void learn_answered(endpoint_t *e)
{
    if (++e->answered < 1000)
        return;
    e->answered /= 2;
    e->refused /= 2;
}

void learn_end(bucket_t *b)
{
    free(b->learner);
    b->learner = NULL;
}

void learn_restore(const pst_core_t *c, bucket_t *b)
{
    if (!b->learner)
        b->learner = pst_calloc(1, sizeof *b->learner);
    begin_below(c, b, b->rate[PST_RATE_REQUESTS].second, CUT_NEAR, 0); /* nothing was refused: no news for the store */
}
