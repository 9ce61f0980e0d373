/* outcome.c - what became of a job, and how it becomes safe.
 *
 * An outcome that ends its job goes into the segment's next result pack (an append).  Appends are sent when no more than
 * APPENDS_IN_FLIGHT of the segment are on their way, so that they grow with the load and stay small without it.  The
 * worker's OUTCOMES message is acknowledged when everything of it that had to be stored is stored: a receipt
 * counts that. */
#include "core/internal.h"

/* ---- receipts ----------------------------------------------------------------------------------------------------- */

static receipt_t *receipt_new(pst_peer_t worker, uint64_t number)
{
    receipt_t *r = pst_calloc(1, sizeof *r);
    r->worker = worker;
    r->number = number;
    r->pending = 1; /* held by the message itself until it has been gone through */
    return r;
}

void receipt_done(pst_core_t *c, receipt_t *r)
{
    if (--r->pending > 0)
        return;
    if (worker_find(c, r->worker)) {
        pst_action_t *a = core_action(c, PST_ACT_ACK);
        a->u.ack.worker = r->worker;
        a->u.ack.number = r->number;
    }
    free(r);
}

/* ---- appends ------------------------------------------------------------------------------------------------------ */

static append_t *append_new(pst_core_t *c, batch_t *b, segment_t *s)
{
    append_t *a = c->append_free;
    if (a) {
        c->append_free = (append_t *)(void *)a->link.next;
        c->appends_kept--;
    } else {
        a = pst_calloc(1, sizeof *a);
        pst_arena_init(&a->arena, 0);
    }
    a->batch = b;
    a->segment = s;
    a->n = s->next_n++;
    s->gathering = a;
    pst_link_init(&a->link);
    pst_link_before(&c->gathered, &a->link);
    return a;
}

static void append_free(append_t *a)
{
    pst_arena_release(&a->arena);
    free(a->pack.results);
    free(a->pack.endpoints);
    free(a->pack.blobs);
    free(a->endpoint_ids);
    free(a->blobs);
    free(a->receipts);
    free(a->ended);
    free(a->unretry);
    free(a->spent);
    free(a);
}

/* Keeps the memory for the next one.  The free list is threaded through link.next. */
void append_recycle(pst_core_t *c, append_t *a)
{
    pst_link_remove(&a->link);
    if (a->segment->gathering == a)
        a->segment->gathering = NULL;
    for (uint32_t i = 0; i < a->pack.blobs_n; i++)
        pst_blob_unref(&a->blobs[i]);
    for (uint32_t i = 0; i < a->receipts_n; i++)
        receipt_done(c, a->receipts[i]);
    a->pack.results_n = a->pack.blobs_n = a->pack.endpoints_n = 0;
    a->receipts_n = a->unretry_n = a->spent_n = 0;
    a->bytes = 0;
    if (c->appends_kept == APPENDS_KEPT_MAX) {
        append_free(a);
        return;
    }
    pst_arena_clear(&a->arena);
    a->link.next = (pst_link_t *)(void *)c->append_free;
    c->append_free = a;
    c->appends_kept++;
}

void append_free_all(pst_core_t *c)
{
    while (c->append_free) {
        append_t *a = c->append_free;
        c->append_free = (append_t *)(void *)a->link.next;
        append_free(a);
    }
}

bool outcome_room(const pst_core_t *c)
{
    return c->appends_out < APPENDS_OUT_MAX;
}

static uint16_t append_endpoint(pst_core_t *c, append_t *a, uint32_t id)
{
    if (id == NONE)
        return PST_NO_ENDPOINT;
    uint32_t at = core_find_id(a->endpoint_ids, a->pack.endpoints_n, id, &c->endpoints[id]->append_at);
    if (at < a->pack.endpoints_n)
        return (uint16_t)at;
    if (a->pack.endpoints_n == a->endpoints_cap) {
        a->endpoints_cap = a->endpoints_cap ? a->endpoints_cap * 2 : 8;
        a->pack.endpoints = pst_realloc(a->pack.endpoints, a->endpoints_cap * sizeof *a->pack.endpoints);
        a->endpoint_ids = pst_realloc(a->endpoint_ids, a->endpoints_cap * sizeof *a->endpoint_ids);
    }
    a->endpoint_ids[a->pack.endpoints_n] = id;
    a->pack.endpoints[a->pack.endpoints_n] = endpoint_name(c, id);
    return (uint16_t)a->pack.endpoints_n++;
}

static uint16_t append_blob(append_t *a, const pst_result_blob_t *view, pst_blob_t *owner)
{
    if (a->pack.blobs_n && a->blobs[a->pack.blobs_n - 1] == owner)
        return (uint16_t)(a->pack.blobs_n - 1);
    if (a->pack.blobs_n == a->blobs_cap) {
        a->blobs_cap = a->blobs_cap ? a->blobs_cap * 2 : 8;
        a->pack.blobs = pst_realloc(a->pack.blobs, a->blobs_cap * sizeof *a->pack.blobs);
        a->blobs = pst_realloc(a->blobs, a->blobs_cap * sizeof(pst_blob_t *));
    }
    a->blobs[a->pack.blobs_n] = pst_blob_ref(owner);
    a->pack.blobs[a->pack.blobs_n] = *view;
    a->pack.blobs[a->pack.blobs_n].bytes = pst_blob_view(owner);
    a->bytes += owner ? owner->n : 0;
    return (uint16_t)a->pack.blobs_n++;
}

static void append_receipt(append_t *a, receipt_t *r)
{
    if (!r || (a->receipts_n && a->receipts[a->receipts_n - 1] == r))
        return;
    pst_grow(a->receipts, a->receipts_n, a->receipts_cap);
    a->receipts[a->receipts_n++] = r;
    r->pending++;
}

static pst_result_t *append_result(append_t *a)
{
    if (a->pack.results_n == a->results_cap) {
        a->results_cap = a->results_cap ? a->results_cap * 2 : 64;
        a->pack.results = pst_realloc(a->pack.results, a->results_cap * sizeof *a->pack.results);
        a->ended = pst_realloc(a->ended, a->results_cap * sizeof *a->ended);
    }
    pst_result_t *r = &a->pack.results[a->pack.results_n];
    memset(r, 0, sizeof *r);
    r->endpoint = PST_NO_ENDPOINT;
    return r;
}

/* The account as this append makes it: a copy, because later results of this step join before the store looks. */
static pst_seg_stats_t *stats_copy(pst_core_t *c, const segment_t *s)
{
    pst_seg_stats_t *copy = core_scratch(c, sizeof *copy);
    *copy = s->stats;
    copy->causes = core_scratch(c, s->stats.causes_n * sizeof *copy->causes + 1);
    if (s->stats.causes_n)
        memcpy(copy->causes, s->stats.causes, s->stats.causes_n * sizeof *copy->causes);
    copy->endpoints = core_scratch(c, s->stats.endpoints_n * sizeof *copy->endpoints + 1);
    if (s->stats.endpoints_n)
        memcpy(copy->endpoints, s->stats.endpoints, s->stats.endpoints_n * sizeof *copy->endpoints);
    return copy;
}

static void send_append(pst_core_t *c, append_t *a, const pst_seg_stats_t *stats)
{
    segment_t *s = a->segment;
    pst_link_remove(&a->link);
    pst_link_before(&s->sent, &a->link);
    s->gathering = NULL;
    s->in_flight++;
    c->appends_out++;
    op_t *op;
    pst_store_op_t *st = core_store(c, PST_STORE_APPEND, a->batch, &op);
    op->append = a;
    st->segment = s->id;
    st->u.append.n = a->n;
    st->u.append.pack = &a->pack;
    st->u.append.blob_refs = a->blobs;
    st->u.append.stats = stats;
    st->u.append.ended = a->ended;
    st->u.append.unretry = a->unretry;
    st->u.append.unretry_n = a->unretry_n;
    st->u.append.spent = a->spent;
    st->u.append.spent_n = a->spent_n;
    c->count.appends++;
}

void outcome_send_appends(pst_core_t *c)
{
    for (pst_link_t *x = c->gathered.next, *next; x != &c->gathered; x = next) {
        next = x->next;
        append_t *a = PST_CONTAINER(x, append_t, link);
        if (a->segment->in_flight < APPENDS_IN_FLIGHT)
            send_append(c, a, &a->segment->stats); /* the step is over: nothing joins any more */
    }
}

void outcome_append_stored(pst_core_t *c, op_t *op)
{
    append_t *a = op->append;
    segment_t *s = a->segment;
    s->in_flight--;
    c->appends_out--;
    sched_resume(c, op->batch);
    s->stored_n = PST_MAX(s->stored_n, a->n + 1);
    if (!op->batch->live_call)
        core_notice(c, PST_NOTICE_RESULTS, &op->batch->id);
    append_recycle(c, a);
}

void outcome_retry_stored(pst_core_t *c, op_t *op)
{
    if (op->receipt)
        receipt_done(c, op->receipt);
}

/* ---- ending a job ---------------------------------------------------------------------------------------------------- */

static void count_end(pst_core_t *c, segment_t *s, const pst_result_t *r)
{
    switch ((pst_job_status_t)r->status) {
    case PST_JOB_COMPLETED:
        s->stats.completed++;
        c->count.jobs_completed++;
        break;
    case PST_JOB_EXPIRED:
        s->stats.expired++;
        c->count.jobs_failed++;
        break;
    case PST_JOB_CANCELLED:
        s->stats.cancelled++;
        c->count.jobs_failed++;
        break;
    case PST_JOB_FAILED:
    case PST_JOB_NONE:
        s->stats.failed++;
        c->count.jobs_failed++;
        break;
    }
    if (r->cause) {
        stats_cause(s, r->cause);
        c->causes.jobs[r->cause]++;
    }
    s->stats.input_tokens += r->input_tokens;
    s->stats.cached_tokens += r->cached_tokens;
    s->stats.output_tokens += r->output_tokens;
    s->stats.cost_nano += r->cost_nano;
}

static void copy_attempt(pst_core_t *c, append_t *a, pst_attempt_t *to, const pst_attempt_t *from)
{
    *to = *from;
    to->endpoint = append_endpoint(c, a, from->endpoint);
}

/* The latest attempts of the job, `last` behind them unless it is NULL. */
static void copy_attempts(pst_core_t *c, append_t *a, pst_result_t *r, const job_t *j, const pst_attempt_t *last)
{
    uint32_t n = j ? j->history_n : 0, from = last && n == PST_HISTORY_MAX ? 1 : 0;
    uint32_t count = n - from + (last ? 1 : 0);
    if (!count)
        return;
    r->attempts = pst_arena_get(&a->arena, count * sizeof *r->attempts);
    PST_ASSERT(r->attempts);
    r->attempts_n = count;
    for (uint32_t i = from; i < n; i++)
        copy_attempt(c, a, &r->attempts[i - from], &j->history[i]);
    if (last)
        copy_attempt(c, a, &r->attempts[count - 1], last);
}

/* Puts the finished result into the books: from here on the job has ended. */
static void end_job(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t slot, append_t *a, job_t *j)
{
    segment_t *s = a->segment;
    pack_t *p = &b->packs[pack];
    pst_result_t *r = &a->pack.results[a->pack.results_n];
    a->ended[a->pack.results_n++] = (pst_slot_ref_t){pack, slot};
    a->bytes += 96 + r->custom_id.n + r->message.n + r->request_id.n;
    PST_ASSERT(b->where[p->base + slot] == 0);
    b->where[p->base + slot] = a->n + 1;
    b->ended++;
    p->ended++;
    c->gauge.jobs_queued--;
    b->cost_spent += r->cost_nano - (j ? j->cost_spent : 0); /* of attempts before it was told when they were made */
    count_end(c, s, r);
    if (j && j->remembered) {
        pst_grow(a->unretry, a->unretry_n, a->unretry_cap);
        a->unretry[a->unretry_n++] = (pst_slot_ref_t){pack, slot};
    }
    if (p->ended == p->jobs) {
        pst_grow(a->spent, a->spent_n, a->spent_cap);
        a->spent[a->spent_n++] = pack;
    }
    if (j)
        job_free(c, j);
    /* A full one leaves at once, whatever is on its way: an account covers every result before it. */
    if (a->pack.results_n >= APPEND_JOBS_MAX || a->bytes >= APPEND_BYTES_MAX)
        send_append(c, a, stats_copy(c, s));
}

static append_t *gathering(pst_core_t *c, batch_t *b, uint32_t pack)
{
    segment_t *s = batch_segment(b, b->packs[pack].segment);
    return s->gathering ? s->gathering : append_new(c, b, s);
}

static pst_view_t words_of(const batch_t *b, pst_cause_t cause)
{
    if (cause == PST_CAUSE_WORKER_LOST)
        return PST_VIEW_LIT("The worker that made this call was lost before its answer was whole.");
    if (b->live_call && cause == PST_CAUSE_BATCH_EXPIRED)
        return PST_VIEW_LIT("This request was not answered in the time it had.");
    if (b->live_call && cause == PST_CAUSE_BATCH_CANCELLED)
        return PST_VIEW_LIT("This request was cancelled.");
    if (cause == PST_CAUSE_BATCH_EXPIRED)
        return PST_VIEW_LIT("This request could not be executed before the completion window expired.");
    if (cause == PST_CAUSE_BUDGET_EXCEEDED)
        return PST_VIEW_LIT("The batch's budget was spent before this request was sent.");
    return PST_VIEW_LIT("The batch was cancelled before this request was sent.");
}

void outcome_end_job(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t slot, const pst_job_header_t *h,
                     pst_job_status_t status, pst_cause_t cause, const char *message)
{
    append_t *a = gathering(c, b, pack);
    job_t *j = pack_record(&b->packs[pack], slot);
    pst_result_t *r = append_result(a);
    r->index = h->index;
    r->custom_id = h->custom_id.p ? pst_arena_copy(&a->arena, h->custom_id) : h->custom_id;
    r->status = (uint8_t)status;
    r->cause = (uint8_t)cause;
    r->line = h->line;
    pst_view_t text = message ? pst_view_str(message) : h->message;
    if (!text.n)
        text = words_of(b, cause);
    r->message = pst_arena_copy(&a->arena, text);
    r->queued_ms = c->wall_ms - PST_MIN(b->accepted_ms, c->wall_ms);
    if (j)
        r->cost_nano = j->cost_spent;
    copy_attempts(c, a, r, j, NULL);
    end_job(c, b, pack, slot, a, j);
}

/* ---- one outcome ------------------------------------------------------------------------------------------------------- */

typedef struct news { /* an outcome and where it belongs */
    batch_t *batch;
    segment_t *segment;
    const pst_outcome_group_t *group;
    const pst_outcome_t *o;
    pst_blob_t *blob;
    receipt_t *receipt;
    uint32_t endpoint;
    job_t *job;
    pst_ns_t started;    /* the call it is of */
    uint64_t cost_nano;  /* of that call */
} news_t;

static uint32_t latency_ms(const pst_outcome_t *o)
{
    return (uint32_t)PST_MIN((o->latency_us + 500) / 1000, UINT32_MAX);
}

static pst_attempt_t attempt_of(uint32_t endpoint, const pst_outcome_t *o)
{
    return (pst_attempt_t){.endpoint = (uint16_t)endpoint, .http_status = o->http_status, .cause = o->cause,
                           .latency_ms = latency_ms(o)};
}

/* A call that was billed, and did not end its job. */
static void bill(const news_t *n)
{
    n->job->cost_spent += n->cost_nano;
    n->batch->cost_spent += n->cost_nano;
}

/* Of a job that goes on. */
static void remember_attempt(const news_t *n)
{
    job_t *j = n->job;
    bill(n);
    if (!j->history)
        j->history = pst_calloc(PST_HISTORY_MAX, sizeof *j->history);
    if (j->history_n == PST_HISTORY_MAX) {
        memmove(j->history, j->history + 1, (PST_HISTORY_MAX - 1) * sizeof *j->history);
        j->history_n--;
    }
    j->history[j->history_n++] = attempt_of(n->endpoint, n->o);
}

static void end_with_answer(pst_core_t *c, const news_t *n, pst_job_status_t status, uint8_t cause)
{
    const pst_outcome_t *o = n->o;
    append_t *a = gathering(c, n->batch, o->pack);
    append_receipt(a, n->receipt);
    pst_result_t *r = append_result(a);
    r->index = o->index;
    r->custom_id = o->custom_id.p ? pst_arena_copy(&a->arena, o->custom_id) : o->custom_id;
    r->status = (uint8_t)status;
    r->cause = cause;
    r->http_status = o->http_status;
    r->endpoint = append_endpoint(c, a, n->endpoint);
    if (n->endpoint != NONE && c->endpoints[n->endpoint]->on) /* of another one it is not known what it takes */
        r->dropped = c->routes[n->batch->packs[o->pack].route]->wish.params & ~c->endpoints[n->endpoint]->params;
    r->input_tokens = o->input_tokens;
    r->cached_tokens = o->cached_tokens;
    r->output_tokens = o->output_tokens;
    r->latency_ms = latency_ms(o);
    uint64_t so_far = c->wall_ms - PST_MIN(n->batch->accepted_ms, c->wall_ms);
    r->queued_ms = so_far - PST_MIN(so_far, r->latency_ms);
    r->request_id = pst_arena_copy(&a->arena, o->request_id);
    r->message = pst_arena_copy(&a->arena, o->message);
    r->body_offset = o->body_offset;
    r->body_bytes = o->body_bytes;
    if (o->body_bytes)
        r->blob = append_blob(a, &n->group->blob, n->blob);
    pst_attempt_t last = attempt_of(n->endpoint, o);
    copy_attempts(c, a, r, n->job, &last);
    r->cost_nano = (n->job ? n->job->cost_spent : 0) + n->cost_nano;
    end_job(c, n->batch, o->pack, o->slot, a, n->job);
}

/* No more of this batch is sent: what came back without an answer ends as the drain says. */
static void end_drained(pst_core_t *c, const news_t *n)
{
    pst_job_header_t h = {.index = n->o->index, .custom_id = n->o->custom_id};
    append_receipt(gathering(c, n->batch, n->o->pack), n->receipt);
    outcome_end_job(c, n->batch, n->o->pack, n->o->slot, &h, batch_drain_status(n->batch), batch_drain_cause(n->batch),
                    NULL);
}

static void store_retry(pst_core_t *c, const news_t *n)
{
    job_t *j = n->job;
    pst_retry_t *r = core_scratch(c, sizeof *r);
    *r = (pst_retry_t){.pack = j->pack, .slot = j->slot, .dispatch = j->dispatch, .attempts = j->attempts,
                       .given_up = j->given_up, .due_wall_ms = j->due_wall_ms, .cost_nano = j->cost_spent};
    r->endpoints = core_scratch(c, j->history_n * sizeof *r->endpoints + 1);
    r->history = core_scratch(c, j->history_n * sizeof *r->history + 1);
    for (uint32_t i = 0; i < j->history_n; i++) {
        r->endpoints[i] = endpoint_name(c, j->history[i].endpoint);
        r->history[i] = j->history[i];
        r->history[i].endpoint = (uint16_t)i;
    }
    r->endpoints_n = r->history_n = j->history_n;
    op_t *op;
    pst_store_op_t *s = core_store(c, PST_STORE_RETRY, n->batch, &op);
    s->segment = n->segment->id;
    s->u.retry.retry = r;
    op->receipt = n->receipt;
    n->receipt->pending++;
    j->remembered = true;
}

/* Exponential with full jitter, never sooner than the provider asked. */
static pst_ns_t backoff(pst_core_t *c, uint8_t attempts, uint64_t asked_ms)
{
    pst_ns_t top = attempts > 7 ? RETRY_MAX : PST_MIN(RETRY_BASE << (attempts - 1), RETRY_MAX);
    return PST_MAX(1 + pst_rng_below(&c->rng, top), asked_ms * PST_MS);
}

static void wait_for_retry(pst_core_t *c, const news_t *n)
{
    job_t *j = n->job;
    pst_ns_t wait = backoff(c, j->attempts, n->o->wait_ms);
    j->state = JOB_WAITING;
    j->due_wall_ms = c->wall_ms + wait / PST_MS;
    j->batch->waiting++;
    c->gauge.jobs_waiting++;
    core_timer(c, &j->timer, pst_ns_add(c->now, wait));
    store_retry(c, n);
    c->count.retries++;
    stats_endpoint(c, n->segment, n->endpoint)->retried++;
}

/* Gives up the model it failed with; false if there is no other one, or the client has the beginning of an answer. */
static bool next_model(pst_core_t *c, const news_t *n)
{
    job_t *j = n->job;
    if (n->batch->begun)
        return false;
    const route_t *r = c->routes[n->batch->packs[j->pack].route];
    j->given_up = route_give_up(r, j->given_up, n->endpoint);
    j->attempts = 0;
    return route_has_more(r, j->given_up);
}

/* What began is never begun again: this outcome is its last, whatever it is. */
static bool end_begun(pst_core_t *c, const news_t *n)
{
    if (n->batch->begun)
        end_with_answer(c, n, PST_JOB_FAILED, n->o->cause ? n->o->cause : PST_CAUSE_WORKER_LOST);
    return n->batch->begun;
}

static void put_back(pst_core_t *c, const news_t *n)
{
    if (end_begun(c, n))
        return;
    if (n->o->verdict != PST_VERDICT_RETURNED)
        remember_attempt(n);
    sched_ready(c, n->job);
}

static void on_retry(pst_core_t *c, const news_t *n)
{
    job_t *j = n->job;
    endpoint_t *e = c->endpoints[n->endpoint];
    endpoint_failed(c, e, n->o->cause);
    if (end_begun(c, n))
        return;
    if (!j->failed_at)
        j->failed_at = c->now;
    if (e->rest.parked && e->worked <= j->failed_at) { /* down for everybody: that spends no attempt */
        put_back(c, n);
        return;
    }
    j->attempts++;
    if (j->attempts < PST_ATTEMPTS_MAX) {
        remember_attempt(n);
        wait_for_retry(c, n);
    } else if (next_model(c, n)) {
        remember_attempt(n);
        sched_ready(c, j);
    } else {
        end_with_answer(c, n, PST_JOB_FAILED, n->o->cause);
    }
}

static void on_final(pst_core_t *c, const news_t *n)
{
    endpoint_worked(c, c->endpoints[n->endpoint], n->started);
    if (n->job && next_model(c, n)) {
        remember_attempt(n);
        sched_ready(c, n->job);
    } else {
        end_with_answer(c, n, PST_JOB_FAILED, n->o->cause);
    }
}

static void settle_budgets(pst_core_t *c, const news_t *n)
{
    const pst_outcome_t *o = n->o;
    endpoint_t *e = c->endpoints[n->endpoint];
    const provider_t *p = c->providers[e->provider];
    bucket_t *both[2] = {p->bucket, e->bucket};
    tokens_t real = {o->input_tokens, o->output_tokens};
    if (p->reserve == PST_RESERVE_EXPECTED)
        real.input -= PST_MIN(o->cached_tokens, real.input);
    for (int i = 0; i < 2; i++) {
        if (o->verdict == PST_VERDICT_RETURNED)
            bucket_unspend(c, both[i], n->job->reserved);
        else if (o->input_tokens || o->output_tokens || o->verdict != PST_VERDICT_RETRY)
            bucket_settle(c, both[i], n->job->reserved, real); /* else: a lost call may have been counted in full */
    }
}

static void count_total(totals_t *t, const pst_outcome_t *o)
{
    t->calls++;
    t->input += o->input_tokens;
    t->cached += o->cached_tokens;
    t->output += o->output_tokens;
    if (o->verdict == PST_VERDICT_DONE)
        t->completed++;
    else if (o->verdict == PST_VERDICT_THROTTLE)
        t->rate_limited++;
}

static void count_call(pst_core_t *c, news_t *n)
{
    const pst_outcome_t *o = n->o;
    endpoint_t *e = c->endpoints[n->endpoint];
    n->cost_nano = 0;
    if (o->verdict == PST_VERDICT_RETURNED)
        return;
    if (o->input_tokens || o->output_tokens)
        n->cost_nano = (uint64_t)(endpoint_cost(e, o->input_tokens, o->cached_tokens, o->output_tokens) + 0.5);
    health_note(c, e, o);
    count_total(&e->totals, o);
    e->totals.cost_nano += n->cost_nano;
    pst_seg_endpoint_t *s = stats_endpoint(c, n->segment, n->endpoint);
    s->calls++;
    s->input_tokens += o->input_tokens;
    s->cached_tokens += o->cached_tokens;
    s->output_tokens += o->output_tokens;
    s->cost_nano += n->cost_nano;
    if (o->verdict == PST_VERDICT_DONE) {
        s->completed++;
        stats_latency(s, latency_ms(o));
    } else if (o->verdict == PST_VERDICT_THROTTLE) {
        s->rate_limited++;
    }
}

/* Somebody waits for it, and nothing that could serve it will work soon. */
static bool waits_in_vain(const pst_core_t *c, const news_t *n)
{
    const route_t *r = c->routes[n->batch->packs[n->o->pack].route];
    return n->batch->live_call && route_rests(c, r, CALL_PATIENCE);
}

/* An outcome of a call that the core had given up for lost: its answer counts if the job has none yet, and if it is whole:
 * of a stream the pieces went with the session. */
static void on_late(pst_core_t *c, news_t *n)
{
    c->count.outcomes_late++;
    if (n->o->verdict != PST_VERDICT_DONE || (n->batch->live_call & PST_LIVE_STREAM))
        return;
    job_t *j = n->job;
    if (j && j->state == JOB_RUNNING && j->worker) {
        pst_action_t *a = core_action(c, PST_ACT_REVOKE);
        a->u.revoke.worker = j->worker->peer;
        a->u.revoke.ref = (pst_task_ref_t){.batch = n->batch->id, .segment = n->segment->id, .pack = n->o->pack,
                                           .slot = n->o->slot, .dispatch = j->dispatch};
    }
    count_call(c, n);
    end_with_answer(c, n, PST_JOB_COMPLETED, PST_CAUSE_NONE);
}

static void on_outcome(pst_core_t *c, news_t *n, worker_t *w)
{
    const pst_outcome_t *o = n->o;
    job_t *j = n->job;
    bool mine = j && j->state == JOB_RUNNING && j->worker == w && j->dispatch == o->dispatch;
    if (!mine) {
        on_late(c, n);
        return;
    }
    n->started = j->started;
    bool of_old_configuration = j->started < c->configured_at; /* what parked it may be mended */
    count_call(c, n);
    if (j->reserved.input || j->reserved.output) {
        settle_budgets(c, n);
        estimate_learn(c->endpoints[n->endpoint], j->estimate, o);
    }
    if (j->leads && o->verdict == PST_VERDICT_DONE)
        beginning_answered(c, j);
    job_leave_worker(c, j);
    j->endpoint = n->endpoint;
    if (n->batch->drain != PST_DRAIN_NONE && o->verdict != PST_VERDICT_DONE && o->verdict != PST_VERDICT_FINAL) {
        bill(n);
        end_drained(c, n);
        return;
    }
    switch ((pst_verdict_t)o->verdict) {
    case PST_VERDICT_DONE:
        fair_count(c, n->batch, o->output_tokens);
        endpoint_worked(c, c->endpoints[n->endpoint], n->started);
        endpoint_widen(c->endpoints[n->endpoint]);
        learn_answered(c->endpoints[n->endpoint]);
        end_with_answer(c, n, PST_JOB_COMPLETED, PST_CAUSE_NONE);
        break;
    case PST_VERDICT_FINAL:
        on_final(c, n);
        break;
    case PST_VERDICT_RETRY:
        on_retry(c, n);
        break;
    case PST_VERDICT_THROTTLE:
        c->count.throttles++;
        bucket_refused(c->endpoints[n->endpoint]->bucket);
        bucket_refused(c->providers[c->endpoints[n->endpoint]->provider]->bucket);
        if (!o->whole_provider)
            learn_refused(c, c->endpoints[n->endpoint], n->started, o->wait_ms);
        endpoint_throttle(c, c->endpoints[n->endpoint], o->wait_ms, o->whole_provider);
        put_back(c, n);
        break;
    case PST_VERDICT_PARK:
        c->count.parks++;
        if (!of_old_configuration)
            endpoint_park(c, c->endpoints[n->endpoint], o->cause, o->wait_ms, o->whole_provider);
        if (waits_in_vain(c, n))
            end_with_answer(c, n, PST_JOB_FAILED, o->cause);
        else
            put_back(c, n);
        break;
    case PST_VERDICT_RETURNED:
        c->count.returned++;
        put_back(c, n);
        break;
    }
}

/* The job has its result already.  If that is not safe yet, the worker must keep this one until it is: after a crash it may
 * be the only one. */
static void on_repeated(pst_core_t *c, const news_t *n, uint32_t where)
{
    c->count.outcomes_late++;
    segment_t *s = n->segment;
    if (where <= s->stored_n)
        return;
    if (s->gathering && s->gathering->n == where - 1)
        append_receipt(s->gathering, n->receipt);
    for (pst_link_t *x = s->sent.next; x != &s->sent; x = x->next) {
        append_t *a = PST_CONTAINER(x, append_t, link);
        if (a->n == where - 1)
            append_receipt(a, n->receipt);
    }
}

static bool locate(pst_core_t *c, const pst_outcome_group_t *g, const pst_outcome_t *o, news_t *n)
{
    if (o->pack >= n->batch->packs_n || n->batch->packs[o->pack].segment != g->segment ||
        o->slot >= n->batch->packs[o->pack].jobs || o->endpoint >= g->endpoints_n)
        return false;
    n->o = o;
    n->endpoint = endpoint_intern(c, &g->endpoints[o->endpoint]);
    const pack_t *p = &n->batch->packs[o->pack];
    uint32_t where = n->batch->where[p->base + o->slot];
    if (where) {
        on_repeated(c, n, where);
        return false;
    }
    n->job = pack_record(p, o->slot);
    return true;
}

/* What the provider's headers say: a limit that is not configured, and what is left of it. */
static void note_limits(pst_core_t *c, const pst_outcome_group_t *g)
{
    for (uint32_t i = 0; i < g->limits_n; i++) {
        const pst_limit_report_t *l = &g->limits[i];
        uint32_t id = endpoint_find(c, &g->endpoints[l->endpoint]);
        if (id == NONE)
            continue;
        endpoint_t *e = c->endpoints[id];
        e->window = 0;
        bucket_learn(c, endpoint_bucket(c, e), (pst_rate_t)l->rate, l->limit, PST_LIMIT_SAID);
        if (l->remaining != UINT64_MAX)
            bucket_left(c, e->bucket, (pst_rate_t)l->rate, l->remaining);
    }
}

static void count_cause(pst_core_t *c, const pst_outcome_t *o)
{
    if (o->cause != PST_CAUSE_NONE && o->verdict != PST_VERDICT_RETURNED)
        c->causes.calls[o->cause]++;
}

void outcome_on_message(pst_core_t *c, const pst_event_t *ev)
{
    worker_t *w = worker_find(c, ev->u.outcomes.worker);
    receipt_t *receipt = receipt_new(ev->u.outcomes.worker, ev->u.outcomes.number);
    for (uint32_t i = 0; i < ev->u.outcomes.groups_n; i++) {
        const pst_outcome_group_t *g = &ev->u.outcomes.groups[i];
        note_limits(c, g);
        news_t n = {.batch = batch_find(c, &g->batch), .group = g, .blob = ev->u.outcomes.blobs[i], .receipt = receipt};
        if (!n.batch || n.batch->state != BATCH_ACTIVE)
            continue;
        n.segment = batch_segment(n.batch, g->segment);
        for (uint32_t k = 0; k < g->outcomes_n; k++) {
            c->count.outcomes++;
            count_cause(c, &g->outcomes[k]);
            if (locate(c, g, &g->outcomes[k], &n))
                on_outcome(c, &n, w);
        }
    }
    receipt_done(c, receipt);
}
