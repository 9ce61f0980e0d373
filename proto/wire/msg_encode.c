/* msg_encode.c - a pst_msg_t as one frame. */
#include "wire/fields.h"
#include "wire/put.h"

static void put_cursor(msgpack_packer *k, const pst_cursor_t *c)
{
    pst_put_array(k, 2);
    pst_put_uint(k, c->segment);
    pst_put_uint(k, c->pack);
}

static void put_ref(msgpack_packer *k, const pst_task_ref_t *ref)
{
    pst_put_array(k, PST_REF_FIELDS);
    pst_put_id(k, &ref->batch);
    pst_put_uint(k, ref->segment);
    pst_put_uint(k, ref->pack);
    pst_put_uint(k, ref->slot);
    pst_put_uint(k, ref->dispatch);
}

static void put_refs(msgpack_packer *k, const pst_task_ref_t *refs, uint32_t n)
{
    if (!pst_put_list(k, n, PST_RUNNING_MAX))
        return;
    for (uint32_t i = 0; i < n; i++)
        put_ref(k, &refs[i]);
}

static void put_pools(msgpack_packer *k, const pst_pool_capacity_t *pools, uint32_t n)
{
    if (!pst_put_list(k, n, PST_WORKER_PROVIDERS_MAX))
        return;
    for (uint32_t i = 0; i < n; i++) {
        pst_put_array(k, PST_POOL_FIELDS);
        pst_put_str(k, pools[i].provider, PST_NAME_BYTES_MAX);
        pst_put_uint(k, pools[i].jobs);
    }
}

static void put_hello(msgpack_packer *k, const pst_msg_hello_t *m)
{
    pst_put_uint(k, m->role);
    pst_put_str(k, m->software, PST_NAME_BYTES_MAX);
    pst_put_str(k, m->name, PST_NAME_BYTES_MAX);
    put_pools(k, m->pools, m->pools_n);
    put_refs(k, m->running, m->running_n);
}

static void put_welcome(msgpack_packer *k, const pst_msg_welcome_t *m)
{
    pst_put_uint(k, m->heartbeat_ms);
    pst_put_uint(k, m->lost_ms);
    pst_put_uint(k, m->upload_packs);
    pst_put_uint(k, m->upload_bytes);
}

static void put_refused(msgpack_packer *k, const pst_msg_refused_t *m)
{
    pst_put_uint(k, m->err);
    pst_put_str(k, m->text, PST_MESSAGE_BYTES_MAX);
}

static void put_route(msgpack_packer *k, const pst_msg_route_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_uint(k, m->url);
    pst_put_bin(k, m->route, PST_ROUTE_BYTES_MAX);
}

static void put_open(msgpack_packer *k, const pst_msg_open_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    pst_put_str(k, m->name, PST_NAME_BYTES_MAX);
    pst_put_uint(k, m->priority);
    pst_put_uint(k, m->window_s);
    pst_put_uint(k, m->max_cost_nano);
    pst_put_str(k, m->idempotency_key, PST_NAME_BYTES_MAX);
    pst_put_str(k, m->metadata, PST_METADATA_BYTES_MAX);
    pst_put_str(k, m->tenant, PST_NAME_BYTES_MAX);
}

static void put_pack(msgpack_packer *k, const pst_msg_pack_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    pst_put_uint(k, m->segment);
    pst_put_uint(k, m->pack);
    pst_put_bin(k, m->headers, PST_HEADERS_BYTES_MAX);
    pst_put_bin(k, m->bodies, PST_FRAME_BYTES_MAX);
}

static void put_commit(msgpack_packer *k, const pst_msg_commit_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    pst_put_uint(k, m->packs);
    pst_put_uint(k, m->jobs);
}

static void put_batch_req(msgpack_packer *k, const pst_msg_batch_req_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
}

static void put_list(msgpack_packer *k, const pst_msg_list_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->after);
    pst_put_uint(k, m->limit);
}

static void put_fetch(msgpack_packer *k, const pst_msg_fetch_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    put_cursor(k, &m->cursor);
    pst_put_uint(k, m->bytes);
    pst_put_uint(k, m->wait_ms);
}

static void put_get(msgpack_packer *k, const pst_msg_get_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    pst_put_bool(k, m->by_index);
    pst_put_uint(k, m->index);
    pst_put_str(k, m->custom_id, PST_CUSTOM_ID_BYTES_MAX);
}

static void put_call(msgpack_packer *k, const pst_msg_call_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_id(k, &m->batch);
    pst_put_str(k, m->tenant, PST_NAME_BYTES_MAX);
    pst_put_uint(k, m->priority);
    pst_put_uint(k, m->max_cost_nano);
    pst_put_uint(k, m->window_ms);
    pst_put_bool(k, m->stream);
    pst_put_bin(k, m->headers, PST_HEADERS_BYTES_MAX);
    pst_put_bin(k, m->bodies, PST_FRAME_BYTES_MAX);
}

static void put_done(msgpack_packer *k, const pst_msg_done_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_uint(k, m->err);
    pst_put_id(k, &m->batch);
    pst_put_bool(k, m->accepted);
    pst_put_str(k, m->text, PST_MESSAGE_BYTES_MAX);
}

static void put_batches(msgpack_packer *k, const pst_msg_batches_t *m)
{
    pst_put_uint(k, m->req);
    if (!pst_put_list(k, m->infos_n, PST_LIST_MAX))
        return;
    for (uint32_t i = 0; i < m->infos_n; i++)
        pst_put_batch_info(k, &m->infos[i]);
    pst_put_bool(k, m->more);
}

static void put_results(msgpack_packer *k, const pst_msg_results_t *m)
{
    pst_put_uint(k, m->req);
    put_cursor(k, &m->next);
    pst_put_bool(k, m->ended);
    if (!pst_put_list(k, m->packs_n, PST_FETCH_PACKS_MAX))
        return;
    for (uint32_t i = 0; i < m->packs_n; i++)
        pst_put_bin(k, m->packs[i], PST_FRAME_BYTES_MAX);
    pst_put_uint(k, m->segments);
}

static void put_job(msgpack_packer *k, const pst_msg_job_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_uint(k, m->state);
    pst_put_uint(k, m->index);
    pst_put_uint(k, m->attempts);
    pst_put_uint(k, m->due_wall_ms);
    pst_put_bin(k, m->pack, PST_FRAME_BYTES_MAX);
}

static void put_piece(msgpack_packer *k, const pst_msg_piece_t *m)
{
    pst_put_uint(k, m->req);
    pst_put_uint(k, m->number);
    pst_put_bin(k, m->bytes, PST_PIECE_BYTES_MAX);
}

static void put_outcome(msgpack_packer *k, const pst_outcome_t *o)
{
    pst_put_array(k, PST_OUTCOME_FIELDS);
    pst_put_uint(k, o->pack);
    pst_put_uint(k, o->slot);
    pst_put_uint(k, o->dispatch);
    pst_put_uint(k, o->index);
    pst_put_str_or_nil(k, o->custom_id, PST_CUSTOM_ID_BYTES_MAX);
    pst_put_uint(k, o->verdict);
    pst_put_uint(k, o->cause);
    pst_put_uint(k, o->http_status);
    pst_put_uint(k, o->endpoint);
    pst_put_uint(k, o->url);
    pst_put_bool(k, o->whole_provider);
    pst_put_uint(k, o->wait_ms);
    pst_put_uint(k, o->latency_us);
    pst_put_uint(k, o->input_tokens);
    pst_put_uint(k, o->cached_tokens);
    pst_put_uint(k, o->output_tokens);
    pst_put_str(k, o->request_id, PST_REQUEST_ID_BYTES_MAX);
    pst_put_str(k, o->message, PST_MESSAGE_BYTES_MAX);
    pst_put_uint(k, o->body_offset);
    pst_put_uint(k, o->body_bytes);
}

static void put_limit_reports(msgpack_packer *k, const pst_limit_report_t *reports, uint32_t n)
{
    if (!pst_put_list(k, n, PST_LIMIT_REPORTS_MAX))
        return;
    for (uint32_t i = 0; i < n; i++) {
        pst_put_array(k, PST_LIMIT_REPORT_FIELDS);
        pst_put_uint(k, reports[i].endpoint);
        pst_put_uint(k, reports[i].rate);
        pst_put_uint(k, reports[i].limit);
        pst_put_uint_or_nil(k, reports[i].remaining);
        pst_put_uint(k, reports[i].reset_ms);
    }
}

static void put_outcome_group(msgpack_packer *k, const pst_outcome_group_t *g)
{
    pst_put_array(k, PST_OUTCOME_GROUP_FIELDS + 1);
    pst_put_id(k, &g->batch);
    pst_put_uint(k, g->segment);
    if (!pst_put_list(k, g->endpoints_n, PST_OUTCOMES_MAX))
        return;
    for (uint32_t i = 0; i < g->endpoints_n; i++)
        pst_put_endpoint(k, &g->endpoints[i]);
    if (!pst_put_list(k, g->outcomes_n, PST_OUTCOMES_MAX))
        return;
    for (uint32_t i = 0; i < g->outcomes_n; i++)
        put_outcome(k, &g->outcomes[i]);
    pst_put_blob(k, &g->blob);
    put_limit_reports(k, g->limits, g->limits_n);
}

static void put_outcomes(msgpack_packer *k, const pst_msg_outcomes_t *m)
{
    uint64_t outcomes = 0;
    pst_put_uint(k, m->number);
    if (!pst_put_list(k, m->groups_n, PST_OUTCOMES_MAX))
        return;
    for (uint32_t i = 0; i < m->groups_n; i++) {
        outcomes += m->groups[i].outcomes_n;
        put_outcome_group(k, &m->groups[i]);
    }
    pst_put_limit(k, outcomes, PST_OUTCOMES_MAX);
}

static void put_pieces(msgpack_packer *k, const pst_msg_pieces_t *m)
{
    if (!pst_put_list(k, m->pieces_n, PST_PIECES_MAX))
        return;
    for (uint32_t i = 0; i < m->pieces_n; i++) {
        pst_put_array(k, PST_PIECE_FIELDS);
        put_ref(k, &m->pieces[i].task);
        pst_put_uint(k, m->pieces[i].number);
        pst_put_bin(k, m->pieces[i].bytes, PST_PIECE_BYTES_MAX);
    }
}

static void put_task_group(msgpack_packer *k, const pst_task_group_t *g)
{
    pst_put_array(k, PST_TASK_GROUP_FIELDS + 2);
    pst_put_id(k, &g->batch);
    pst_put_uint(k, g->segment);
    pst_put_uint(k, g->pack);
    pst_put_bin(k, g->headers, PST_HEADERS_BYTES_MAX);
    pst_put_bin(k, g->bodies, PST_FRAME_BYTES_MAX);
    pst_put_bool(k, g->last);
    pst_put_endpoint(k, &g->endpoint);
    pst_put_str(k, g->model, PST_NAME_BYTES_MAX);
    pst_put_uint(k, g->max_output);
    pst_put_uint(k, g->flags);
    if (!pst_put_list(k, g->slots_n, PST_PACK_JOBS_MAX))
        return;
    for (uint32_t i = 0; i < g->slots_n; i++) {
        pst_put_array(k, 2);
        pst_put_uint(k, g->slots[i].slot);
        pst_put_uint(k, g->slots[i].dispatch);
    }
    pst_put_uint(k, g->priority);
    pst_put_uint(k, g->live);
}

static void put_tasks(msgpack_packer *k, const pst_msg_tasks_t *m)
{
    uint64_t tasks = 0;
    if (!pst_put_list(k, m->groups_n, PST_TASKS_MAX))
        return;
    for (uint32_t i = 0; i < m->groups_n; i++) {
        tasks += m->groups[i].slots_n;
        put_task_group(k, &m->groups[i]);
    }
    pst_put_limit(k, tasks, PST_TASKS_MAX);
}

static void put_fields(msgpack_packer *k, const pst_msg_t *m)
{
    switch ((pst_msg_type_t)m->type) {
    case PST_MSG_HELLO: put_hello(k, &m->u.hello); break;
    case PST_MSG_WELCOME: put_welcome(k, &m->u.welcome); break;
    case PST_MSG_PING: break;
    case PST_MSG_BYE:
    case PST_MSG_REFUSED: put_refused(k, &m->u.refused); break;
    case PST_MSG_ROUTE: put_route(k, &m->u.route); break;
    case PST_MSG_OPEN: put_open(k, &m->u.open); break;
    case PST_MSG_PACK: put_pack(k, &m->u.pack); break;
    case PST_MSG_COMMIT: put_commit(k, &m->u.commit); break;
    case PST_MSG_ABORT:
    case PST_MSG_STATUS:
    case PST_MSG_CANCEL:
    case PST_MSG_DELETE: put_batch_req(k, &m->u.batch_req); break;
    case PST_MSG_LIST: put_list(k, &m->u.list); break;
    case PST_MSG_FETCH: put_fetch(k, &m->u.fetch); break;
    case PST_MSG_GET: put_get(k, &m->u.get); break;
    case PST_MSG_CALL: put_call(k, &m->u.call); break;
    case PST_MSG_DONE: put_done(k, &m->u.done); break;
    case PST_MSG_BATCH:
        pst_put_uint(k, m->u.batch.req);
        pst_put_batch_info(k, &m->u.batch.info);
        break;
    case PST_MSG_BATCHES: put_batches(k, &m->u.batches); break;
    case PST_MSG_RESULTS: put_results(k, &m->u.results); break;
    case PST_MSG_JOB: put_job(k, &m->u.job); break;
    case PST_MSG_PIECE: put_piece(k, &m->u.piece); break;
    case PST_MSG_TOP: pst_put_uint(k, m->u.top.req); break;
    case PST_MSG_CLUSTER:
        pst_put_uint(k, m->u.cluster.req);
        pst_put_cluster(k, &m->u.cluster.cluster);
        break;
    case PST_MSG_CAPACITY: put_pools(k, m->u.capacity.pools, m->u.capacity.pools_n); break;
    case PST_MSG_OUTCOMES: put_outcomes(k, &m->u.outcomes); break;
    case PST_MSG_PIECES: put_pieces(k, &m->u.pieces); break;
    case PST_MSG_TASKS: put_tasks(k, &m->u.tasks); break;
    case PST_MSG_REVOKE: put_refs(k, m->u.revoke.refs, m->u.revoke.refs_n); break;
    case PST_MSG_ACK: pst_put_uint(k, m->u.ack.number); break;
    }
}

#define ENVELOPE_BYTES_GUESS 64
#define TASK_BYTES_GUESS 8
#define OUTCOME_BYTES_GUESS 96

/* Of the messages that carry packs: their buffers would otherwise grow, and move, several times.  A list past its limit
 * is not looked at here either. */
static size_t guess_bytes(const pst_msg_t *m)
{
    size_t n = ENVELOPE_BYTES_GUESS;
    if (m->type == PST_MSG_PACK) {
        n += m->u.pack.headers.n + m->u.pack.bodies.n;
    } else if (m->type == PST_MSG_CALL) {
        n += m->u.call.headers.n + m->u.call.bodies.n + m->u.call.tenant.n;
    } else if (m->type == PST_MSG_JOB) {
        n += m->u.job.pack.n;
    } else if (m->type == PST_MSG_PIECE) {
        n += m->u.piece.bytes.n;
    } else if (m->type == PST_MSG_RESULTS && m->u.results.packs_n <= PST_FETCH_PACKS_MAX) {
        for (uint32_t i = 0; i < m->u.results.packs_n; i++)
            n += m->u.results.packs[i].n + ENVELOPE_BYTES_GUESS;
    } else if (m->type == PST_MSG_TASKS && m->u.tasks.groups_n <= PST_TASKS_MAX) {
        for (uint32_t i = 0; i < m->u.tasks.groups_n; i++) {
            const pst_task_group_t *g = &m->u.tasks.groups[i];
            n += g->headers.n + g->bodies.n + g->slots_n * TASK_BYTES_GUESS + ENVELOPE_BYTES_GUESS;
        }
    } else if (m->type == PST_MSG_OUTCOMES && m->u.outcomes.groups_n <= PST_OUTCOMES_MAX) {
        for (uint32_t i = 0; i < m->u.outcomes.groups_n; i++) {
            const pst_outcome_group_t *g = &m->u.outcomes.groups[i];
            n += g->blob.bytes.n + g->outcomes_n * OUTCOME_BYTES_GUESS + ENVELOPE_BYTES_GUESS;
        }
    }
    return n;
}

void pst_msg_encode(const pst_msg_t *m, pst_buf_t *out)
{
    int fields = pst_msg_fields(m->type);
    PST_ASSERT(fields >= 0);
    /* The frame's limit becomes the buffer's while it is written, so that no more than that is ever
     * held. */
    size_t max = out->max;
    size_t frame_max = out->n + PST_FRAME_BYTES_MAX;
    out->max = max ? PST_MIN(max, frame_max) : frame_max;
    pst_buf_expect(out, guess_bytes(m));
    msgpack_packer k = pst_put_into(out);
    pst_put_array(&k, PST_ENVELOPE_FIELDS + (size_t)(fields + pst_msg_later_fields(m->type)));
    pst_put_uint(&k, m->version);
    pst_put_uint(&k, m->type);
    pst_put_uint(&k, m->session);
    pst_put_uint(&k, m->epoch);
    pst_put_uint(&k, m->seq);
    put_fields(&k, m);
    out->max = max;
}
