/* plan.c - a batch with a window: on the cheapest endpoints as long as they alone finish it in time, and on dearer ones
 * for exactly the rest.
 *
 * Each half-second: the endpoints of a route in the order they are wanted in, cheapest first, and what each can take by
 * its limits, or does take where it is the bottleneck.  As many from the front as finish what is left in the time that
 * is left are open; of them the last is let to take only what the others leave, evenly over the time; the rest is
 * closed.  What was foreseen wrongly shows at the next look: who falls behind opens more, who is ahead closes some.
 *
 * The time that is left ends before the window does: by the calls that begin last, and by a reserve. */
#include "core/internal.h"

#define PLAN_EVERY (500 * PST_MS)
#define RESERVE_SHARE 0.01      /* of the window */
#define TAIL_LATENCIES 3.0      /* times what 99 % of calls take less than, until the last has its answer */
#define TAIL_UNKNOWN 5.0        /* seconds, of a call nothing is known of */
#define AHEAD_SHARE 1.02        /* the last open endpoint goes so much faster than it must */
#define RATE_KEEP 5.0           /* seconds over which what an endpoint takes is averaged */
#define TOKENS_GUESS 500.0
#define UNBOUNDED 1e12

bool plan_allows(const candidate_t *k)
{
    return k->allowed < 0 || k->allowed >= 1;
}

void plan_sent(candidate_t *k)
{
    k->sent++;
    if (k->allowed >= 1)
        k->allowed -= 1;
}

/* ---- what an endpoint can take, in jobs a second ------------------------------------------------------------------- */

static double by_bucket(const bucket_t *b, tokens_t t)
{
    double rate = UNBOUNDED;
    for (int i = 0; b && i < PST_RATE_DAILY; i++) {
        uint64_t part = bucket_part(i, t);
        if (b->rate[i].limit && part > 0)
            rate = PST_MIN(rate, b->rate[i].second / (double)part);
    }
    return rate;
}

static double by_calls(uint32_t at_a_time, double latency_s)
{
    return at_a_time && latency_s > 0 ? at_a_time / latency_s : UNBOUNDED;
}

static double capacity(pst_core_t *c, const candidate_t *k)
{
    const endpoint_t *e = c->endpoints[k->endpoint];
    const provider_t *p = c->providers[e->provider];
    if (e->rest.parked || p->rest.parked || !e->on || !p->on)
        return 0;
    const route_t *r = k->route;
    tokens_t t = {(uint32_t)(r->mean_input ? r->mean_input : TOKENS_GUESS),
                  (uint32_t)estimate_output(e, r->mean_output ? r->mean_output : TOKENS_GUESS)};
    standing_t s = health_standing(c, e);
    double latency = s.measured ? s.latency[0] : 0;
    double limits = PST_MIN(by_bucket(e->bucket, t), by_bucket(p->bucket, t));
    limits = PST_MIN(limits, PST_MIN(by_calls(e->concurrency, latency), by_calls(p->concurrency, latency)));
    limits = PST_MIN(limits, by_calls(p->places, latency));
    bool full = k->place != NULL; /* it waits for room: what it takes is all it can */
    return full && k->rate > 0 ? PST_MIN(limits, k->rate) : limits;
}

static void measure(candidate_t *k, double passed_s)
{
    double share = passed_s / (RATE_KEEP + passed_s), now = (double)k->sent / passed_s;
    k->rate = k->rate ? k->rate + (now - k->rate) * share : now;
    k->sent = 0;
}

/* ---- the plan --------------------------------------------------------------------------------------------------------- */

static double seconds_left(pst_core_t *c, const route_t *r)
{
    const batch_t *b = r->planned;
    double tail = 0;
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        standing_t s = health_standing(c, c->endpoints[r->candidates[i]->endpoint]);
        tail = PST_MAX(tail, s.measured ? s.latency[3] * TAIL_LATENCIES : TAIL_UNKNOWN);
    }
    double window = (double)b->window_s, left = 0;
    if (b->expires_ms > c->wall_ms)
        left = (double)(b->expires_ms - c->wall_ms) / 1000;
    return left - PST_MIN(tail, window / 4) - window * RESERVE_SHARE;
}

static double usual_cost(const pst_core_t *c, const candidate_t *k)
{
    const route_t *r = k->route;
    return endpoint_cost(c->endpoints[k->endpoint], (uint64_t)r->mean_input, 0, (uint64_t)r->mean_output);
}

/* In the order of groups, and in a group by what the route's usual job costs. */
static void order(const pst_core_t *c, const route_t *r, uint32_t *ret)
{
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        const candidate_t *k = r->candidates[i];
        double cost = usual_cost(c, k);
        uint32_t at = i;
        for (; at > 0; at--) {
            const candidate_t *before = r->candidates[ret[at - 1]];
            if (before->group != k->group || usual_cost(c, before) <= cost)
                break;
            ret[at] = ret[at - 1];
        }
        ret[at] = i;
    }
}

static void open_up_to(candidate_t *k, double a_second, double passed_s)
{
    double most = PST_MAX(1.0, 2 * a_second); /* saved up for two seconds at most */
    k->allowed = PST_MIN(PST_MAX(k->allowed, 0.0) + a_second * passed_s, most);
}

static void make_plan(pst_core_t *c, route_t *r, double passed_s)
{
    double left = r->planned_flow ? (double)r->planned_flow->left : 0;
    double time = seconds_left(c, r);
    uint32_t *by_cost = core_scratch(c, r->candidates_n * sizeof *by_cost + 1);
    order(c, r, by_cost);
    bool first = true;
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        candidate_t *k = r->candidates[by_cost[i]];
        double can = capacity(c, k) * PST_MAX(time, 0.0);
        if (time <= 0 || first || can < left)
            k->allowed = -1;
        else
            open_up_to(k, PST_MAX(left, 0.0) / time * AHEAD_SHARE, passed_s);
        first = first && can <= 0;
        left = PST_MAX(left - can, 0.0);
    }
}

void plan_refresh(pst_core_t *c, route_t *r)
{
    if (r->planned_at && c->now - r->planned_at < PLAN_EVERY)
        return;
    double passed = r->planned_at ? (double)(c->now - r->planned_at) / (double)PST_SEC : 0;
    r->planned_at = c->now;
    for (uint32_t i = 0; passed > 0 && i < r->candidates_n; i++)
        measure(r->candidates[i], passed);
    make_plan(c, r, passed);
    core_timer(c, &r->timer, pst_ns_add(c->now, PLAN_EVERY));
}

/* While it has something to send it is looked at again, even if no place wakes it: what was closed may be open. */
void plan_timer(pst_core_t *c, route_t *r)
{
    if (!fair_share(r))
        return;
    plan_refresh(c, r);
    route_ready(c, r);
}
