/* query.c - looking in without changing anything: where a batch's jobs and results are. */
#include "core/internal.h"

static const batch_t *active(const pst_core_t *c, const pst_id_t *batch)
{
    const batch_t *b = batch_find(c, batch);
    return b && !b->live_call && (b->state == BATCH_ACTIVE || b->state == BATCH_ENDING) ? b : NULL;
}

bool pst_core_calls(const pst_core_t *c, const pst_id_t *call)
{
    const batch_t *b = batch_find(c, call);
    return b && b->live_call && b->state == BATCH_ACTIVE;
}

bool pst_core_runs(const pst_core_t *c, pst_peer_t worker, const pst_task_ref_t *task)
{
    const batch_t *b = batch_find(c, &task->batch);
    if (!b || !b->live_call || task->pack >= b->packs_n || task->slot >= b->packs[task->pack].jobs)
        return false;
    const job_t *j = pack_record(&b->packs[task->pack], task->slot);
    return j && j->state == JOB_RUNNING && j->dispatch == task->dispatch && j->worker && j->worker->peer == worker;
}

pst_err_t pst_core_results(const pst_core_t *c, const pst_id_t *batch, uint32_t segment, uint32_t *ret_n, bool *ret_last)
{
    const batch_t *b = active(c, batch);
    if (!b || segment >= b->segments_n)
        return PST_E_NOT_FOUND;
    *ret_n = b->segments[segment]->stored_n;
    *ret_last = segment + 1 == b->segments_n;
    return PST_OK;
}

uint32_t pst_core_segments(const pst_core_t *c, const pst_id_t *batch)
{
    const batch_t *b = active(c, batch);
    return b ? b->segments_n : 0;
}

pst_err_t pst_core_job(const pst_core_t *c, const pst_id_t *batch, uint32_t pack, uint16_t slot, uint32_t *ret_segment,
                       pst_job_state_t *ret_state, uint32_t *ret_attempts, uint64_t *ret_due_wall_ms, uint32_t *ret_pack)
{
    const batch_t *b = active(c, batch);
    if (!b || pack >= b->packs_n || slot >= b->packs[pack].jobs)
        return PST_E_NOT_FOUND;
    const pack_t *p = &b->packs[pack];
    const segment_t *s = b->segments[p->segment];
    const job_t *j = pack_record(p, slot);
    uint32_t where = b->where[p->base + slot];
    *ret_segment = p->segment;
    *ret_attempts = j ? j->attempts : 0;
    *ret_due_wall_ms = j && j->state == JOB_WAITING ? j->due_wall_ms : 0;
    *ret_pack = where ? where - 1 : 0;
    if (where && where <= s->stored_n)
        *ret_state = PST_STATE_ENDED;
    else if (where || (j && j->state == JOB_RUNNING)) /* answered, but not safe yet */
        *ret_state = PST_STATE_RUNNING;
    else if (j && j->history_n)
        *ret_state = PST_STATE_RETRYING;
    else
        *ret_state = PST_STATE_QUEUED;
    return PST_OK;
}

uint32_t pst_core_find_packs(const pst_core_t *c, const pst_id_t *batch, uint32_t index, uint32_t first, uint32_t *packs,
                             uint32_t *segments, uint32_t max, uint32_t *ret_next)
{
    const batch_t *b = active(c, batch);
    uint32_t n = 0, i = first;
    for (; b && i < b->packs_n && n < max; i++) {
        const pack_t *p = &b->packs[i];
        if (index != UINT32_MAX && (index < p->index_lo || index > p->index_hi))
            continue;
        packs[n] = i;
        segments[n++] = p->segment;
    }
    *ret_next = b && i < b->packs_n ? i : UINT32_MAX;
    return n;
}
