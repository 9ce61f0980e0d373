/* link_decode.c - what brokers and workers say to one another, read by the cursor: lists of
 * thousands of tasks. */
#include "wire/cursor.h"
#include "wire/fields.h"

/* An id takes 18 bytes, not the one that any field takes at least. */
#define ID_MORE 17

static void read_ref(pst_in_t *c, pst_task_ref_t *ref)
{
    uint32_t extra = pst_in_open(c, PST_REF_FIELDS);
    ref->batch = pst_in_id(c);
    ref->segment = pst_in_u32(c);
    ref->pack = pst_in_u32(c);
    ref->slot = (uint16_t)pst_in_uint(c, PST_PACK_JOBS_MAX - 1);
    ref->dispatch = pst_in_u16(c);
    pst_in_close(c, extra);
}

static pst_task_ref_t *read_refs(pst_in_t *c, pst_arena_t *a, uint32_t *ret_n)
{
    pst_task_ref_t *v = pst_in_list(c, a, PST_RUNNING_MAX, ID_MORE + 1 + PST_REF_FIELDS, sizeof *v,
                                    ret_n);
    for (uint32_t i = 0; i < *ret_n; i++)
        read_ref(c, &v[i]);
    pst_in_close(c, 0);
    return v;
}

static pst_pool_capacity_t *read_pools(pst_in_t *c, pst_arena_t *a, uint32_t *ret_n)
{
    pst_pool_capacity_t *v = pst_in_list(c, a, PST_WORKER_PROVIDERS_MAX, 1 + PST_POOL_FIELDS,
                                         sizeof *v, ret_n);
    for (uint32_t i = 0; i < *ret_n; i++) {
        uint32_t extra = pst_in_open(c, PST_POOL_FIELDS);
        v[i].provider = pst_in_str(c, PST_NAME_BYTES_MAX);
        v[i].jobs = pst_in_u32(c);
        pst_in_close(c, extra);
    }
    pst_in_close(c, 0);
    return v;
}

static void read_hello(pst_in_t *c, pst_arena_t *a, pst_msg_hello_t *m)
{
    m->role = pst_in_u8(c, PST_ROLE_WORKER);
    if (m->role < PST_ROLE_CLIENT)
        pst_in_fail(c, PST_E_MALFORMED);
    m->software = pst_in_str(c, PST_NAME_BYTES_MAX);
    m->name = pst_in_str(c, PST_NAME_BYTES_MAX);
    m->pools = read_pools(c, a, &m->pools_n);
    m->running = read_refs(c, a, &m->running_n);
}

static void read_outcome(pst_in_t *c, pst_outcome_t *o)
{
    uint32_t extra = pst_in_open(c, PST_OUTCOME_FIELDS);
    o->pack = pst_in_u32(c);
    o->slot = (uint16_t)pst_in_uint(c, PST_PACK_JOBS_MAX - 1);
    o->dispatch = pst_in_u16(c);
    o->index = pst_in_u32(c);
    o->custom_id = pst_in_str_or_nil(c, PST_CUSTOM_ID_BYTES_MAX);
    o->verdict = pst_in_u8(c, PST_VERDICT_RETURNED);
    o->cause = pst_in_u8(c, UINT8_MAX);
    o->http_status = pst_in_u16(c);
    o->endpoint = pst_in_u16(c);
    o->url = pst_in_u8(c, PST_URL_COUNT - 1);
    o->whole_provider = pst_in_bool(c);
    o->wait_ms = pst_in_uint(c, UINT64_MAX);
    o->latency_us = pst_in_uint(c, UINT64_MAX);
    o->input_tokens = pst_in_u32(c);
    o->cached_tokens = pst_in_u32(c);
    o->output_tokens = pst_in_u32(c);
    o->request_id = pst_in_str(c, PST_REQUEST_ID_BYTES_MAX);
    o->message = pst_in_str(c, PST_MESSAGE_BYTES_MAX);
    o->body_offset = pst_in_u32(c);
    o->body_bytes = pst_in_u32(c);
    pst_in_close(c, extra);
}

static void read_limit_reports(pst_in_t *c, pst_arena_t *a, pst_outcome_group_t *g)
{
    g->limits = pst_in_list(c, a, PST_LIMIT_REPORTS_MAX, 1 + PST_LIMIT_REPORT_FIELDS, sizeof *g->limits,
                            &g->limits_n);
    for (uint32_t i = 0; i < g->limits_n; i++) {
        pst_limit_report_t *r = &g->limits[i];
        uint32_t extra = pst_in_open(c, PST_LIMIT_REPORT_FIELDS);
        r->endpoint = pst_in_u16(c);
        r->rate = pst_in_u8(c, PST_RATE_COUNT - 1);
        r->limit = pst_in_uint(c, UINT64_MAX);
        r->remaining = pst_in_uint_or_nil(c);
        r->reset_ms = pst_in_uint(c, UINT64_MAX);
        pst_in_close(c, extra);
        if (c->err == PST_OK && (r->endpoint >= g->endpoints_n || r->limit == 0))
            pst_in_fail(c, PST_E_MALFORMED);
    }
    pst_in_close(c, 0);
}

/* Everything an outcome names is there, so that nobody need ask again. */
static bool outcome_fits(const pst_outcome_group_t *g, const pst_outcome_t *o)
{
    return o->verdict >= PST_VERDICT_DONE && o->endpoint < g->endpoints_n &&
           (uint64_t)o->body_offset + o->body_bytes <= g->blob.text_bytes;
}

static void read_outcome_group(pst_in_t *c, pst_arena_t *a, pst_outcome_group_t *g)
{
    uint32_t extra = pst_in_open(c, PST_OUTCOME_GROUP_FIELDS);
    g->batch = pst_in_id(c);
    g->segment = pst_in_u32(c);
    g->endpoints = pst_in_endpoints(c, a, PST_OUTCOMES_MAX, &g->endpoints_n);
    g->outcomes = pst_in_list(c, a, PST_OUTCOMES_MAX, 1 + PST_OUTCOME_FIELDS, sizeof *g->outcomes,
                              &g->outcomes_n);
    for (uint32_t i = 0; i < g->outcomes_n; i++)
        read_outcome(c, &g->outcomes[i]);
    pst_in_close(c, 0);
    g->blob = pst_in_blob(c);
    g->limits = NULL;
    g->limits_n = 0;
    if (extra > 0) {
        read_limit_reports(c, a, g);
        extra--;
    }
    pst_in_close(c, extra);
    for (uint32_t i = 0; c->err == PST_OK && i < g->outcomes_n; i++) {
        if (!outcome_fits(g, &g->outcomes[i]))
            pst_in_fail(c, PST_E_MALFORMED);
    }
}

static void read_outcomes(pst_in_t *c, pst_arena_t *a, pst_msg_outcomes_t *m)
{
    uint64_t outcomes = 0;
    m->number = pst_in_uint(c, UINT64_MAX);
    m->groups = pst_in_list(c, a, PST_OUTCOMES_MAX, ID_MORE + 1 + PST_OUTCOME_GROUP_FIELDS,
                            sizeof *m->groups, &m->groups_n);
    for (uint32_t i = 0; i < m->groups_n && outcomes <= PST_OUTCOMES_MAX; i++) {
        read_outcome_group(c, a, &m->groups[i]);
        outcomes += m->groups[i].outcomes_n;
    }
    pst_in_close(c, 0);
    if (outcomes > PST_OUTCOMES_MAX)
        pst_in_fail(c, PST_E_TOO_LARGE);
}

static void read_pieces(pst_in_t *c, pst_arena_t *a, pst_msg_pieces_t *m)
{
    m->pieces = pst_in_list(c, a, PST_PIECES_MAX, ID_MORE + 1 + PST_REF_FIELDS + PST_PIECE_FIELDS,
                            sizeof *m->pieces, &m->pieces_n);
    for (uint32_t i = 0; i < m->pieces_n; i++) {
        uint32_t extra = pst_in_open(c, PST_PIECE_FIELDS);
        read_ref(c, &m->pieces[i].task);
        m->pieces[i].number = pst_in_u32(c);
        m->pieces[i].bytes = pst_in_bin(c, PST_PIECE_BYTES_MAX);
        pst_in_close(c, extra);
    }
    pst_in_close(c, 0);
}

static void read_slots(pst_in_t *c, pst_arena_t *a, pst_task_group_t *g)
{
    g->slots = pst_in_list(c, a, PST_PACK_JOBS_MAX, 3, sizeof *g->slots, &g->slots_n);
    for (uint32_t i = 0; i < g->slots_n; i++) {
        uint32_t extra = pst_in_open(c, 2);
        g->slots[i].slot = (uint16_t)pst_in_uint(c, PST_PACK_JOBS_MAX - 1);
        g->slots[i].dispatch = pst_in_u16(c);
        pst_in_close(c, extra);
    }
    pst_in_close(c, 0);
}

static void read_task_group(pst_in_t *c, pst_arena_t *a, pst_task_group_t *g)
{
    uint32_t extra = pst_in_open(c, PST_TASK_GROUP_FIELDS);
    g->batch = pst_in_id(c);
    g->segment = pst_in_u32(c);
    g->pack = pst_in_u32(c);
    g->headers = pst_in_bin(c, PST_HEADERS_BYTES_MAX);
    g->bodies = pst_in_bin(c, PST_FRAME_BYTES_MAX);
    g->last = pst_in_bool(c);
    g->endpoint = pst_in_endpoint(c);
    g->model = pst_in_str(c, PST_NAME_BYTES_MAX);
    g->max_output = pst_in_u32(c);
    g->flags = pst_in_u32(c);
    read_slots(c, a, g);
    g->priority = PST_PRIORITY_NORMAL;
    g->live = 0;
    if (extra > 0) {
        g->priority = pst_in_u8(c, PST_PRIORITY_COUNT - 1);
        extra--;
    }
    if (extra > 0) {
        g->live = pst_in_u8(c, UINT8_MAX);
        extra--;
    }
    pst_in_close(c, extra);
}

static void read_tasks(pst_in_t *c, pst_arena_t *a, pst_msg_tasks_t *m)
{
    uint64_t tasks = 0;
    m->groups = pst_in_list(c, a, PST_TASKS_MAX, ID_MORE + 1 + PST_TASK_GROUP_FIELDS, sizeof *m->groups,
                            &m->groups_n);
    for (uint32_t i = 0; i < m->groups_n && tasks <= PST_TASKS_MAX; i++) {
        read_task_group(c, a, &m->groups[i]);
        tasks += m->groups[i].slots_n;
    }
    pst_in_close(c, 0);
    if (tasks > PST_TASKS_MAX)
        pst_in_fail(c, PST_E_TOO_LARGE);
}

bool pst_link_decode(pst_in_t *c, pst_arena_t *a, pst_msg_t *m)
{
    if (m->type == PST_MSG_OUTCOMES)
        read_outcomes(c, a, &m->u.outcomes);
    else if (m->type == PST_MSG_TASKS)
        read_tasks(c, a, &m->u.tasks);
    else if (m->type == PST_MSG_PIECES)
        read_pieces(c, a, &m->u.pieces);
    else if (m->type == PST_MSG_CAPACITY)
        m->u.capacity.pools = read_pools(c, a, &m->u.capacity.pools_n);
    else if (m->type == PST_MSG_REVOKE)
        m->u.revoke.refs = read_refs(c, a, &m->u.revoke.refs_n);
    else if (m->type == PST_MSG_HELLO)
        read_hello(c, a, &m->u.hello);
    else
        return false;
    return true;
}
