/* restore.c - a new core learns what the store holds, then (GO) begins to send.
 *
 * Between the two, workers return and name what they still run (worker.c adopts those jobs), so that a broker's crash
 * repeats no call of a live worker. */
#include "core/internal.h"

static void restore_batch(pst_core_t *c, const pst_restored_t *r)
{
    const pst_batch_info_t *i = &r->u.batch.info;
    batch_t *b = batch_new(c, &r->batch, i);
    b->opened = true;
    b->state = BATCH_STAGING;
    b->accepted_ms = i->accepted_ms;
    b->expires_ms = i->expires_ms;
    b->cancelling_ms = i->cancelling_ms;
    b->drain = r->u.batch.drain;
    b->jobs_accepted = r->u.batch.jobs;
}

/* A segment's packs come before what happened to their jobs, and before the packs of the next segment. */
static void activate(pst_core_t *c, batch_t *b)
{
    if (b->state == BATCH_STAGING && b->accepted_ms)
        batch_accept(c, b);
}

static void restore_pack(pst_core_t *c, batch_t *b, const pst_restored_t *r)
{
    pst_err_t err;
    route_t *route = route_get(c, r->u.pack.url, r->u.pack.route, false, &err);
    PST_ASSERT(route); /* the store's bytes decode: they did when they were accepted */
    PST_ASSERT(r->u.pack.entry.pack == b->packs_n);
    batch_add_pack(c, b, &r->u.pack.entry, r->segment, route)->stored = true;
}

static void restore_results(pst_core_t *c, batch_t *b, const pst_restored_t *r)
{
    activate(c, b);
    segment_t *s = batch_segment(b, r->segment);
    PST_ASSERT(s);
    s->next_n = s->stored_n = PST_MAX(s->next_n, r->u.results.n + 1);
    for (uint32_t i = 0; i < r->u.results.ended_n; i++) {
        const pst_slot_ref_t *e = &r->u.results.ended[i];
        PST_ASSERT(e->pack < b->packs_n && e->slot < b->packs[e->pack].jobs);
        pack_t *p = &b->packs[e->pack];
        PST_ASSERT(b->where[p->base + e->slot] == 0);
        b->where[p->base + e->slot] = r->u.results.n + 1;
        p->ended++;
        b->ended++;
        c->gauge.jobs_queued--;
    }
}

static void restore_history(pst_core_t *c, job_t *j, const pst_retry_t *from)
{
    j->history_n = PST_MIN(from->history_n, PST_HISTORY_MAX);
    if (!j->history_n)
        return;
    j->history = pst_calloc(PST_HISTORY_MAX, sizeof *j->history);
    for (uint32_t i = 0; i < j->history_n; i++) {
        j->history[i] = from->history[i];
        j->history[i].endpoint = (uint16_t)endpoint_intern(c, &from->endpoints[from->history[i].endpoint]);
    }
}

static void restore_retry(pst_core_t *c, batch_t *b, const pst_retry_t *from)
{
    activate(c, b);
    PST_ASSERT(from->pack < b->packs_n && from->slot < b->packs[from->pack].jobs);
    if (b->where[b->packs[from->pack].base + from->slot])
        return;
    job_t *j = job_new(c, b, from->pack, from->slot);
    j->dispatch = from->dispatch;
    j->attempts = from->attempts;
    j->given_up = from->given_up;
    j->remembered = true;
    j->cost_spent = from->cost_nano;
    b->cost_spent += from->cost_nano;
    restore_history(c, j, from);
    j->due_wall_ms = from->due_wall_ms;
    j->state = JOB_WAITING;
    b->waiting++;
    c->gauge.jobs_waiting++;
    uint64_t wait_ms = from->due_wall_ms > c->wall_ms ? from->due_wall_ms - c->wall_ms : 0;
    core_timer(c, &j->timer, pst_ns_add(c->now, wait_ms * PST_MS));
}

static void restore_end(pst_core_t *c, batch_t *b)
{
    activate(c, b);
    if (b->state == BATCH_STAGING) {
        core_timer(c, &b->timer, pst_ns_add(c->now, c->opts.staging_idle_ms * PST_MS));
        return;
    }
    PST_ASSERT(b->jobs == b->jobs_accepted);
    for (uint32_t i = 0; i < b->segments_n; i++)
        b->cost_spent += b->segments[i]->stats.cost_nano;
    if (b->drain != PST_DRAIN_NONE)
        pst_link_before(&c->draining, &b->draining);
    else
        for (uint32_t i = 0; i < b->packs_n; i++)
            sched_add_pack(c, b, i);
    batch_check_end(c, b); /* the crash may have come between the last result and the end */
}

void restore_on(pst_core_t *c, const pst_restored_t *r)
{
    if (r->type == PST_RESTORED_BATCH) {
        restore_batch(c, r);
        return;
    }
    if (r->type == PST_RESTORED_LIMITS) {
        bucket_restore(c, r->u.limits.name, r->u.limits.limit, r->u.limits.source);
        return;
    }
    batch_t *b = batch_find(c, &r->batch);
    PST_ASSERT(b && !c->go);
    switch (r->type) {
    case PST_RESTORED_PACK:
        restore_pack(c, b, r);
        break;
    case PST_RESTORED_RESULTS:
        restore_results(c, b, r);
        break;
    case PST_RESTORED_RETRY:
        restore_retry(c, b, &r->u.retry);
        break;
    case PST_RESTORED_STATS:
        stats_restore(c, batch_segment(b, r->segment), &r->u.stats);
        break;
    case PST_RESTORED_BATCH_END:
        restore_end(c, b);
        break;
    case PST_RESTORED_BATCH:
    case PST_RESTORED_LIMITS:
        break;
    }
}

void restore_go(pst_core_t *c)
{
    c->go = true;
}
