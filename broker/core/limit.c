/* limit.c - rate budgets.  The counters are the store's (one atomic call takes from requests and tokens or from
 * neither, and says how long to wait); the core leases slices of about SLICE_TIME, so that no job costs a round
 * trip.  A slice that lies unused is given back.  A job spends its estimate when it is sent and is settled by the
 * usage of its answer; what was spent too much is paid back out of the next slice. */
#include "core/internal.h"

static uint64_t slice_of(uint64_t per_minute)
{
    return per_minute * (SLICE_TIME / PST_MS) / 60000;
}

void bucket_set(bucket_t *b, uint64_t rpm, uint64_t tpm)
{
    b->rpm = rpm;
    b->tpm = tpm;
    b->requests_cap = rpm ? PST_MAX(rpm / 60, 1) : 0;  /* a second's worth: many providers count by the second */
    b->tokens_cap = tpm ? PST_MAX(tpm / 6, 1) : 0;     /* ten seconds' worth: one prompt may be large */
}

bucket_t *bucket_new(pst_core_t *c, const char *name, uint64_t rpm, uint64_t tpm)
{
    (void)c;
    bucket_t *b = pst_calloc(1, sizeof *b);
    pst_heap_node_init(&b->timer.node);
    b->timer.kind = TIMER_BUCKET;
    b->name = pst_strdup_view(pst_view_str(name));
    bucket_set(b, rpm, tpm);
    return b;
}

static pst_store_op_t *limit_op(pst_core_t *c, pst_store_op_type_t type, bucket_t *b, op_t **op)
{
    pst_store_op_t *s = core_store(c, type, NULL, op);
    s->u.limit.name = pst_view_str(b->name);
    s->u.limit.rpm = b->rpm;
    s->u.limit.tpm = b->tpm;
    s->u.limit.requests_cap = b->requests_cap;
    s->u.limit.tokens_cap = b->tokens_cap;
    return s;
}

/* A reservation larger than the bucket is capped at it, so that one giant job neither starves nor is starved. */
static int64_t need_tokens(const bucket_t *b, uint64_t tokens)
{
    return b->tpm ? (int64_t)PST_MIN(tokens, b->tokens_cap) : 0;
}

static void take(pst_core_t *c, bucket_t *b, int64_t need)
{
    if (b->taking || c->now < b->wait_until)
        return;
    op_t *op;
    pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_TAKE, b, &op);
    op->bucket = b;
    b->taking = true;
    if (b->rpm) {
        s->u.limit.requests_min = b->requests < 1 ? (uint64_t)(1 - b->requests) : 0;
        s->u.limit.requests = s->u.limit.requests_min + slice_of(b->rpm);
        s->u.limit.requests_min = PST_MIN(s->u.limit.requests_min, b->requests_cap);
        s->u.limit.requests = PST_MIN(s->u.limit.requests, b->requests_cap);
    }
    if (b->tpm) {
        s->u.limit.tokens_min = b->tokens < need ? (uint64_t)(need - b->tokens) : 0;
        s->u.limit.tokens = s->u.limit.tokens_min + slice_of(b->tpm);
        s->u.limit.tokens_min = PST_MIN(s->u.limit.tokens_min, b->tokens_cap);
        s->u.limit.tokens = PST_MIN(s->u.limit.tokens, b->tokens_cap);
    }
}

bool bucket_has(pst_core_t *c, bucket_t *b, uint64_t tokens)
{
    if (!b)
        return true;
    if (c->now < b->wait_until)
        return false;
    int64_t need = need_tokens(b, tokens);
    if ((!b->rpm || b->requests >= 1) && (!b->tpm || b->tokens >= need))
        return true;
    take(c, b, need);
    return false;
}

void bucket_spend(pst_core_t *c, bucket_t *b, uint64_t tokens)
{
    if (!b)
        return;
    b->used_at = c->now;
    if (b->rpm)
        b->requests--;
    b->tokens -= need_tokens(b, tokens);
    if (!pst_heap_has(&b->timer.node))
        core_timer(c, &b->timer, pst_ns_add(c->now, SLICE_IDLE));
}

void bucket_settle(bucket_t *b, uint64_t reserved, uint64_t real)
{
    if (!b || !b->tpm)
        return;
    b->tokens += need_tokens(b, reserved) - need_tokens(b, real);
    b->tokens = PST_MIN(b->tokens, (int64_t)b->tokens_cap);
}

void bucket_unspend(bucket_t *b, uint64_t tokens)
{
    if (!b)
        return;
    if (b->rpm)
        b->requests = PST_MIN(b->requests + 1, (int64_t)b->requests_cap);
    bucket_settle(b, tokens, 0);
}

static void wake_users(pst_core_t *c, const bucket_t *b)
{
    for (uint32_t i = 0; i < c->providers_n; i++)
        if (c->providers[i]->bucket == b)
            provider_wake(c, c->providers[i]);
    for (uint32_t i = 0; i < c->endpoints_n; i++)
        if (c->endpoints[i]->bucket == b)
            endpoint_wake(c, c->endpoints[i]);
}

void bucket_taken(pst_core_t *c, bucket_t *b, const pst_store_answer_t *a)
{
    b->taking = false;
    if (a->err != PST_OK || (a->requests == 0 && a->tokens == 0)) {
        b->wait_until = pst_ns_add(c->now, PST_MAX(a->wait_ms, 1) * PST_MS);
        core_timer(c, &b->timer, b->wait_until);
        return;
    }
    b->requests += (int64_t)a->requests;
    b->tokens += (int64_t)a->tokens;
    b->used_at = c->now;
    core_timer(c, &b->timer, pst_ns_add(c->now, SLICE_IDLE));
    wake_users(c, b);
}

void bucket_timer(pst_core_t *c, bucket_t *b)
{
    if (b->wait_until && c->now >= b->wait_until) {
        b->wait_until = 0;
        wake_users(c, b);
    }
    if (b->taking)
        return;
    if (pst_ns_since(c->now, b->used_at) < SLICE_IDLE) {
        core_timer(c, &b->timer, pst_ns_add(b->used_at, SLICE_IDLE));
        return;
    }
    if (b->requests > 0 || b->tokens > 0) {
        pst_store_op_t *s = limit_op(c, PST_STORE_LIMIT_GIVE, b, NULL);
        s->u.limit.requests = (uint64_t)PST_MAX(b->requests, 0);
        s->u.limit.tokens = (uint64_t)PST_MAX(b->tokens, 0);
        b->requests = PST_MIN(b->requests, 0);
        b->tokens = PST_MIN(b->tokens, 0);
    }
}
