/* call.c - a job that somebody waits for.
 *
 * It is a batch of one pack with one job, less what makes a batch safe: there is no upload and nothing to be stored, so it
 * is accepted in the step that brings it.  From there on it is planned, sent, tried again and ended as any job is.  Its
 * STORE actions say `live`: the shell answers them.
 *
 * Who waits for one job wants the job stopped, not merely no other one sent: a drain ends it also while it runs.  And it does
 * not wait for what rests until somebody has mended it: it is told so. */
#include "core/internal.h"

static pst_pack_entry_t entry_of(const pst_msg_call_t *m, const pst_pack_headers_t *h)
{
    return (pst_pack_entry_t){.jobs = 1, .text_bytes = h->text_bytes, .headers_bytes = (uint32_t)m->headers.n,
                              .bodies_bytes = (uint32_t)m->bodies.n, .index_lo = h->jobs[0].index,
                              .index_hi = h->jobs[0].index, .input_tokens = h->jobs[0].input_tokens};
}

static batch_t *call_new(pst_core_t *c, const pst_msg_call_t *m)
{
    pst_batch_info_t info = {.batch = m->batch, .priority = m->priority, .max_cost_nano = m->max_cost_nano,
                             .tenant = m->tenant, .created_ms = c->wall_ms};
    batch_t *b = batch_new(c, &m->batch, &info);
    c->gauge.batches--; /* where it counted as one */
    b->live_call = PST_LIVE_UNSTORED | (m->stream ? PST_LIVE_STREAM : 0);
    b->opened = true;
    b->accepted_ms = c->wall_ms;
    uint64_t lifetime_ms = (uint64_t)BATCH_DAYS_MAX * 86400 * 1000;
    b->expires_ms = b->accepted_ms + PST_MIN(m->window_ms ? m->window_ms : lifetime_ms, lifetime_ms);
    return b;
}

void call_on_call(pst_core_t *c, const pst_event_t *ev)
{
    const pst_msg_call_t *m = ev->u.call.msg;
    const pst_pack_headers_t *h = ev->u.call.headers;
    PST_ASSERT(h->jobs_n == 1 && !h->jobs[0].reject);
    if (batch_find(c, &m->batch)) {
        core_reply(c, ev->u.call.peer, m->req, PST_E_EXISTS, &m->batch, false, "this id is taken: make a new one");
        return;
    }
    pst_err_t e;
    route_t *r = route_get(c, h->url, h->route, true, &e);
    if (!r) {
        core_reply(c, ev->u.call.peer, m->req, e, &m->batch, false, "%s", pst_err_text(e));
        return;
    }
    const rest_t *rest = route_rests(c, r, CALL_PATIENCE);
    if (rest) {
        core_reply(c, ev->u.call.peer, m->req, PST_E_PARKED, &m->batch, false, "every endpoint of this model rests: %s",
                   pst_cause_text(rest->cause));
        route_put(c, r);
        return;
    }
    batch_t *b = call_new(c, m);
    pst_pack_entry_t entry = entry_of(m, h);
    batch_add_pack(c, b, &entry, 0, r)->stored = true;
    b->jobs_accepted = b->jobs;
    c->count.jobs_accepted += b->jobs;
    batch_accept(c, b);
    if (c->open_bytes + m->headers.n + m->bodies.n <= c->opts.open_bytes_max / 2)
        pack_open(c, b, 0, h, ev->u.call.headers_blob, ev->u.call.bodies_blob);
    sched_add_pack(c, b, 0);
}

void call_on_begun(pst_core_t *c, const pst_id_t *id)
{
    batch_t *b = batch_find(c, id);
    if (b && b->live_call)
        b->begun = true;
}
