#include "gateway/sampler.h"

#include "lib/top.h"
#include "proc/clock.h"

#define STEP (PST_HISTORY_STEP_S * PST_SEC)
#define PATIENCE (3 * PST_SEC)

struct pst_sampler {
    pst_loop_t *loop;
    pst_sampler_fn *fn;
    void *arg;
    pst_ask_t *ask;
    bool wished;
    pst_ns_t asked_at;
    pst_ns_t step_at;            /* the next step's end */
    uint64_t step_end_s;         /* the end of one that waits for its answer; 0: none does */
    pst_top_t top;
    bool known;
    pst_ns_t known_at;
    pst_history_t *history;
};

pst_sampler_t *pst_sampler_new(pst_loop_t *loop, pst_sampler_fn *fn, void *arg)
{
    pst_sampler_t *s = calloc(1, sizeof *s);
    pst_history_t *h = pst_history_new();
    if (!s || !h) {
        free(s);
        pst_history_destroy(&h);
        return NULL;
    }
    *s = (pst_sampler_t){.loop = loop, .fn = fn, .arg = arg, .history = h};
    s->step_at = pst_ns_add(pst_clock_mono(), PST_SEC); /* the first one only knows what there is */
    return s;
}

void pst_sampler_destroy(pst_sampler_t **ps, pst_remote_t *remote)
{
    pst_sampler_t *s = pst_take(ps);
    if (!s)
        return;
    if (s->ask)
        pst_remote_forget(remote, &s->ask);
    if (s->known)
        pst_top_release(&s->top);
    pst_history_destroy(&s->history);
    free(s);
}

static void end_step(pst_sampler_t *s, const pst_top_t *t)
{
    if (s->step_end_s)
        pst_history_step(s->history, s->step_end_s, t);
    s->step_end_s = 0;
}

static void take(pst_sampler_t *s, pst_top_t *t)
{
    if (s->known)
        pst_top_release(&s->top);
    s->top = *t;
    s->known = true;
    s->known_at = pst_loop_now(s->loop);
}

static void on_top(void *arg, pst_err_t err, const pst_msg_t *m, pst_view_t words)
{
    (void)words;
    pst_sampler_t *s = arg;
    pst_top_t t;
    s->ask = NULL;
    bool known = !err && m->type == PST_MSG_CLUSTER && pst_top_copy(&m->u.cluster.cluster, &t) == PST_OK;
    if (known)
        take(s, &t);
    end_step(s, known ? &s->top : NULL);
    s->fn(s->arg, known ? &s->top : NULL);
}

/* A step that got no answer in all of the next one's time is a hole; so is each that was slept through. */
static void begin_steps(pst_sampler_t *s, pst_ns_t now)
{
    for (uint32_t n = 0; now >= s->step_at && n < PST_HISTORY_STEPS; n++) {
        end_step(s, NULL);
        s->step_end_s = pst_clock_wall_ms() / 1000;
        s->step_at = pst_ns_add(s->step_at, STEP);
    }
    if (now >= s->step_at)
        s->step_at = pst_ns_add(now, STEP);
}

static void ask(pst_sampler_t *s, pst_remote_t *remote, pst_ns_t now)
{
    pst_msg_t m = {.type = PST_MSG_TOP};
    s->ask = pst_remote_ask(remote, &m, PATIENCE, on_top, s);
    s->wished = false;
    s->asked_at = now;
    if (s->ask)
        return;
    end_step(s, NULL);
    s->fn(s->arg, NULL);
}

pst_ns_t pst_sampler_turn(pst_sampler_t *s, pst_remote_t *remote, pst_ns_t now, bool listened)
{
    if (now >= s->step_at) {
        begin_steps(s, now);
        s->wished = true;
    }
    bool due = s->wished || (listened && now >= pst_ns_add(s->asked_at, PST_SEC));
    if (due && !s->ask)
        ask(s, remote, now);
    if (!listened && !s->wished)
        return s->step_at;
    return pst_ns_min(s->step_at, pst_ns_add(s->ask ? now : s->asked_at, PST_SEC));
}

void pst_sampler_wish(pst_sampler_t *s)
{
    s->wished |= !s->ask;
}

const pst_top_t *pst_sampler_top(const pst_sampler_t *s, pst_ns_t age_max)
{
    return s->known && pst_ns_since(pst_loop_now(s->loop), s->known_at) <= age_max ? &s->top : NULL;
}

const pst_history_t *pst_sampler_history(const pst_sampler_t *s)
{
    return s->history;
}
