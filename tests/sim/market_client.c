/* market_client.c - batches: how large their jobs are, how they are uploaded, and what came of them.  A job's sizes follow
 * from the seed, its batch and its number, so nothing of a job is kept but whether it has a result.  See market.h. */
#include <math.h>
#include <stdio.h>

#include "market.h"

#define WORD (100 * PST_US)       /* between a client and its broker */
#define BODY_BYTES 256            /* of a job in its pack, compressed */
#define TEXT_A_TOKEN 4
#define TEXT_MAX 4096             /* of one job: 256 of them fit into a pack */
#define NOISE 0.05                /* of the submitter's estimates */
#define REQ_OPEN 1
#define REQ_COMMIT 2
#define REQ_PACK 1000

/* ---- jobs -------------------------------------------------------------------------------------------------------------- */

/* splitmix64's finish: neighbours become strangers. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint32_t drawn(double median, double sigma, uint64_t bits)
{
    return (uint32_t)fmax(1, median * exp(sigma * market_normal(bits)) + 0.5);
}

job_t market_batch_job(const market_t *m, const batch_t *b, uint32_t index)
{
    const sizes_t *s = &b->plan.sizes;
    uint64_t of_batch = mix(m->options->seed + 0x9e3779b97f4a7c15u * (b->origin->number + 1ull));
    uint64_t bits = mix(of_batch + 0x9e3779b97f4a7c15u * ((b->map ? b->map[index] : index) + 1ull));
    job_t j = {.input = drawn(s->input_median, s->input_sigma, bits), .output_limit = s->output_limit,
               .output = drawn(s->output_median, s->output_sigma, bits >> 16),
               .noise = exp(NOISE * market_normal(bits >> 32))};
    if (s->output_limit)
        j.output = PST_MIN(j.output, s->output_limit);
    return j;
}

/* ---- packs --------------------------------------------------------------------------------------------------------------- */

uint32_t market_batch_segment(uint32_t pack)
{
    return pack / (PST_SEGMENT_JOBS_MAX / PST_PACK_JOBS_MAX);
}

uint32_t market_batch_index(const batch_t *b, uint32_t pack, uint16_t slot)
{
    uint32_t index = pack * PST_PACK_JOBS_MAX + slot;
    PST_ASSERT(index < b->plan.jobs);
    return index;
}

static pst_view_t route_of(market_t *m, const batch_t *b, uint32_t pack)
{
    uint32_t model = b->plan.models_n ? b->plan.models[pack % b->plan.models_n] : b->plan.models[0];
    char *name = market_scratch(m, 16);
    snprintf(name, 16, "m%u", model);
    pst_view_t models[1] = {pst_view_str(name)};
    pst_route_t r = {.models = {models, 1}, .allow_fallbacks = true, .require_parameters = true,
                     .sort = (uint8_t)b->plan.sort, .max_price_prompt = -1, .max_price_completion = -1,
                     .max_price_request = -1};
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    pst_route_encode(&r, &buf);
    pst_view_t bytes = pst_arena_copy(&m->arena, pst_buf_view(&buf));
    pst_buf_release(&buf);
    return bytes;
}

void market_batch_pack(market_t *m, const batch_t *b, uint32_t pack, pst_pack_headers_t *ret)
{
    uint32_t first = pack * PST_PACK_JOBS_MAX, n = PST_MIN(b->plan.jobs - first, PST_PACK_JOBS_MAX);
    *ret = (pst_pack_headers_t){.url = PST_URL_CHAT, .route = route_of(m, b, pack), .codec = PST_CODEC_ZSTD,
                                .jobs = market_scratch(m, n * sizeof *ret->jobs), .jobs_n = n};
    for (uint32_t i = 0; i < n; i++) {
        job_t j = market_batch_job(m, b, first + i);
        ret->jobs[i] = (pst_job_header_t){.index = first + i, .custom_id = PST_VIEW_LIT("c-00000000"),
                                          .input_tokens = j.input, .output_tokens = j.output_limit,
                                          .body_bytes = PST_MIN(j.input * TEXT_A_TOKEN, TEXT_MAX)};
        ret->text_bytes += ret->jobs[i].body_bytes;
    }
    if (!m->bodies[n]) {
        m->bodies[n] = pst_blob_new(NULL, (size_t)n * BODY_BYTES);
        memset(m->bodies[n]->p, 0, m->bodies[n]->n);
    }
}

pst_blob_t *market_batch_headers(const pst_pack_headers_t *h)
{
    pst_buf_t buf;
    pst_buf_init(&buf, 0);
    pst_pack_headers_encode(h, &buf);
    PST_ASSERT(!buf.failed);
    pst_blob_t *b = pst_blob_new(buf.p, buf.n);
    pst_buf_release(&buf);
    return b;
}

/* ---- uploading ------------------------------------------------------------------------------------------------------------ */

static uint32_t packs_of(uint32_t jobs)
{
    return (jobs + PST_PACK_JOBS_MAX - 1) / PST_PACK_JOBS_MAX;
}

static broker_t *broker_of(market_t *m, const batch_t *b)
{
    return &m->broker[b->plan.broker];
}

static tenant_t *tenant_named(market_t *m, const char *name)
{
    for (uint32_t i = 0; i < m->tenants_n; i++)
        if (strcmp(m->tenants[i].name, name) == 0)
            return &m->tenants[i];
    PST_ASSERT(m->tenants_n < TENANTS_MAX);
    m->tenants[m->tenants_n].name = name;
    return &m->tenants[m->tenants_n++];
}

static batch_t *batch_new(market_t *m, const batch_plan_t *plan)
{
    batch_t *b = pst_calloc(1, sizeof *b);
    pst_heap_node_init(&b->event.node);
    b->plan = *plan;
    b->origin = b;
    b->tenant = plan->tenant ? tenant_named(m, plan->tenant) : NULL;
    b->packs = packs_of(plan->jobs);
    pst_grow(m->batches, m->batches_n, m->batches_cap);
    b->number = m->batches_n;
    for (int i = 0; i < 4; i++)
        b->id.b[12 + i] = (uint8_t)(b->number >> 8 * (3 - i));
    b->id.b[0] = 1;
    m->batches[m->batches_n++] = b;
    m->batches_open++;
    return b;
}

batch_t *market_submit(market_t *m, const batch_plan_t *plan)
{
    PST_ASSERT(plan->jobs);
    batch_t *b = batch_new(m, plan);
    b->has_result = pst_calloc((plan->jobs + 7) / 8, 1);
    market_schedule(m, &b->event, EVENT_CLIENT, PST_MAX(plan->at, m->now));
    return b;
}

batch_t *market_batch_of(market_t *m, const pst_id_t *id)
{
    uint32_t number = 0;
    for (int i = 0; i < 4; i++)
        number = number << 8 | id->b[12 + i];
    PST_ASSERT(number < m->batches_n);
    return m->batches[number];
}

static void send_open(market_t *m, batch_t *b)
{
    pst_msg_open_t msg = {.req = REQ_OPEN, .batch = b->id, .priority = b->plan.priority, .window_s = b->plan.window_s,
                          .max_cost_nano = b->plan.max_cost_nano, .tenant = pst_view_str(b->plan.tenant)};
    pst_event_t ev = {.type = PST_EV_OPEN};
    ev.u.open.peer = b->number + 1;
    ev.u.open.msg = &msg;
    b->opening = true;
    market_step(broker_of(m, b), &ev);
}

static void send_pack(market_t *m, batch_t *b, uint32_t pack)
{
    pst_pack_headers_t h;
    market_batch_pack(m, b, pack, &h);
    pst_blob_t *headers = market_batch_headers(&h), *bodies = m->bodies[h.jobs_n];
    pst_msg_pack_t msg = {.req = REQ_PACK + pack, .batch = b->id,
                          .segment = market_batch_segment(pack), .pack = pack,
                          .headers = pst_blob_view(headers), .bodies = pst_blob_view(bodies)};
    pst_event_t ev = {.type = PST_EV_PACK};
    ev.u.pack.peer = b->number + 1;
    ev.u.pack.msg = &msg;
    ev.u.pack.headers = &h;
    ev.u.pack.headers_blob = headers;
    ev.u.pack.bodies_blob = bodies;
    market_step(broker_of(m, b), &ev);
    pst_blob_unref(&headers);
}

static void send_commit(market_t *m, batch_t *b)
{
    pst_msg_commit_t msg = {.req = REQ_COMMIT, .batch = b->id, .packs = b->packs, .jobs = b->plan.jobs};
    pst_event_t ev = {.type = PST_EV_COMMIT};
    ev.u.commit.peer = b->number + 1;
    ev.u.commit.msg = &msg;
    b->committing = true;
    market_step(broker_of(m, b), &ev);
}

/* As much as its credit allows. */
void market_client_go_on(market_t *m, batch_t *b)
{
    if (b->ended || !broker_of(m, b)->core)
        return; /* its broker died: batch_resubmit goes on with it */
    if (!b->opening)
        send_open(m, b);
    if (!b->opened)
        return;
    while (b->packs_sent < b->packs && b->packs_unanswered < PST_UPLOAD_PACKS_MAX) {
        b->packs_unanswered++;
        send_pack(m, b, b->packs_sent++);
        pst_arena_clear(&m->arena);
    }
    if (b->packs_sent == b->packs && !b->packs_unanswered && !b->committing)
        send_commit(m, b);
}

void market_client_heard(market_t *m, batch_t *b, const pst_msg_done_t *d)
{
    if (d->err) {
        market_fail(m, "request %u of batch %u is refused: %.*s", d->req, b->number, (int)d->text.n, d->text.p);
        return;
    }
    if (d->req == REQ_COMMIT) {
        b->accepted = d->accepted;
        m->accepted++;
        b->accepted_at = m->now;
        b->turns_accepted = m->turns;
        return;
    }
    if (d->req == REQ_OPEN)
        b->opened = true;
    else
        b->packs_unanswered--;
    if (!pst_heap_has(&b->event.node))
        market_schedule(m, &b->event, EVENT_CLIENT, m->now + WORD);
}

/* ---- results ---------------------------------------------------------------------------------------------------------------- */

static void count_result(batch_t *o, const pst_result_t *r)
{
    switch ((pst_job_status_t)r->status) {
    case PST_JOB_COMPLETED:
        o->completed++;
        break;
    case PST_JOB_FAILED:
        o->failed++;
        break;
    case PST_JOB_EXPIRED:
        o->expired++;
        break;
    case PST_JOB_CANCELLED:
        o->cancelled++;
        break;
    case PST_JOB_NONE:
        break;
    }
    o->core_cost_nano += r->cost_nano;
    o->last_latency = r->latency_ms * PST_MS;
}

void market_batch_results(market_t *m, batch_t *b, const pst_store_op_t *op)
{
    batch_t *o = b->origin;
    for (uint32_t i = 0; i < op->u.append.pack->results_n; i++) {
        const pst_slot_ref_t *ref = &op->u.append.ended[i];
        uint32_t index = market_batch_index(b, ref->pack, ref->slot);
        index = b->map ? b->map[index] : index;
        if (o->has_result[index / 8] >> index % 8 & 1)
            market_fail(m, "batch %u: a second result for job %u", o->number, index);
        o->has_result[index / 8] |= (uint8_t)(1u << index % 8);
        o->results++;
        count_result(o, &op->u.append.pack->results[i]);
    }
    o->last_result_at = m->now;
}

void market_batch_ended(market_t *m, batch_t *b)
{
    if (b->ended)
        market_fail(m, "batch %u ends a second time", b->number);
    b->ended = true;
    m->batches_open--;
}

void market_batch_check_end(market_t *m, const batch_t *b)
{
    if (b->origin != b)
        return;
    if (b->results != b->plan.jobs)
        market_fail(m, "batch %u has %u results for %u jobs", b->number, b->results, b->plan.jobs);
    uint64_t off = b->core_cost_nano > b->cost_nano ? b->core_cost_nano - b->cost_nano : b->cost_nano - b->core_cost_nano;
    if (b->completed == b->plan.jobs && !m->crashes && off > b->plan.jobs)
        market_fail(m, "batch %u cost %llu nano-USD, its results say %llu", b->number, (unsigned long long)b->cost_nano,
                    (unsigned long long)b->core_cost_nano);
}

void market_batch_resubmit(market_t *m, uint32_t broker)
{
    uint32_t n = m->batches_n;
    for (uint32_t i = 0; i < n; i++) {
        batch_t *old = m->batches[i], *o = old->origin;
        if (old->plan.broker != broker || old->ended)
            continue;
        old->ended = true;
        m->batches_open--;
        pst_heap_remove(&m->events, &old->event.node);
        batch_plan_t plan = o->plan;
        plan.jobs = o->plan.jobs - o->results;
        if (!plan.jobs)
            continue;
        batch_t *b = batch_new(m, &plan);
        b->origin = o;
        b->map = pst_alloc(plan.jobs * sizeof *b->map);
        uint32_t left = 0;
        for (uint32_t k = 0; k < o->plan.jobs; k++)
            if (!(o->has_result[k / 8] >> k % 8 & 1))
                b->map[left++] = k;
        PST_ASSERT(left == plan.jobs);
        market_schedule(m, &b->event, EVENT_CLIENT, PST_MAX(o->plan.at, m->now + WORD));
    }
}

void market_batch_free(batch_t *b)
{
    free(b->map);
    free(b->has_result);
    free(b);
}
