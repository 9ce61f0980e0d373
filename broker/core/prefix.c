/* prefix.c - prompts that begin alike.
 *
 * A provider that caches prompts bills what it has read before at a fraction.  It has read a beginning when the first
 * answer to it has come: so of jobs with the same beginning the first goes alone, and the others, held back
 * meanwhile, go to the same endpoint, as long as that has room (else to another one, where again one goes first).  If the
 * first fails, the next one leads.
 *
 * A beginning is forgotten when it has not been used for BEGINNING_KEEPS, as long as caches last, or when there are too
 * many. */
#include "core/internal.h"

#define BEGINNINGS_MAX 65536
#define BEGINNING_KEEPS (300 * PST_SEC)

struct beginning {
    char key[12];      /* prefix, endpoint */
    bool leading;
    pst_ns_t used_at;
    pst_link_t used;   /* in core->beginnings_used */
    pst_link_t held;   /* jobs that wait for its leader */
};

static void make_key(uint32_t endpoint, uint64_t prefix, char key[12])
{
    memcpy(key, &prefix, 8);
    memcpy(key + 8, &endpoint, 4);
}

static void forget(pst_core_t *c, beginning_t *b)
{
    PST_ASSERT(pst_link_empty(&b->held));
    pst_map_remove(&c->beginnings, b->key, sizeof b->key);
    pst_link_remove(&b->used);
    free(b);
}

/* Those that are too old, or too many; one that leads is needed. */
static void make_room(pst_core_t *c)
{
    while (!pst_link_empty(&c->beginnings_used)) {
        beginning_t *oldest = PST_CONTAINER(c->beginnings_used.next, beginning_t, used);
        bool old = pst_ns_since(c->now, oldest->used_at) >= BEGINNING_KEEPS;
        if (oldest->leading || (!old && pst_map_live(&c->beginnings) < BEGINNINGS_MAX))
            return;
        forget(c, oldest);
    }
}

static void use(pst_core_t *c, beginning_t *b)
{
    b->used_at = c->now;
    pst_link_remove(&b->used);
    pst_link_before(&c->beginnings_used, &b->used);
}

beginning_t *beginning_find(pst_core_t *c, uint32_t endpoint, uint64_t prefix)
{
    char key[12];
    make_key(endpoint, prefix, key);
    beginning_t *b = pst_map_get(&c->beginnings, key, sizeof key);
    return b && (b->leading || pst_ns_since(c->now, b->used_at) < BEGINNING_KEEPS) ? b : NULL;
}

bool beginning_leads(const beginning_t *b)
{
    return b->leading;
}

void beginning_sent(pst_core_t *c, uint32_t endpoint, uint64_t prefix, job_t *j)
{
    beginning_t *b = beginning_find(c, endpoint, prefix);
    if (b) {
        use(c, b);
        return;
    }
    make_room(c);
    char key[12];
    make_key(endpoint, prefix, key);
    b = pst_map_get(&c->beginnings, key, sizeof key);
    if (!b && pst_map_live(&c->beginnings) >= BEGINNINGS_MAX)
        return; /* as many are being led: this one goes without */
    if (!b) {
        b = pst_calloc(1, sizeof *b);
        memcpy(b->key, key, sizeof key);
        pst_link_init(&b->used);
        pst_link_init(&b->held);
        pst_map_set(&c->beginnings, key, sizeof key, b);
    }
    b->leading = true;
    j->leads = b;
    use(c, b);
}

void beginning_hold(beginning_t *b, job_t *j)
{
    pst_link_remove(&j->link);
    pst_link_before(&b->held, &j->link);
}

/* Who waited may go: in the order of their coming. */
static void release(pst_core_t *c, beginning_t *b)
{
    while (!pst_link_empty(&b->held)) {
        job_t *j = PST_CONTAINER(b->held.next, job_t, link);
        batch_t *batch = j->batch;
        pst_link_remove(&j->link);
        sched_ready(c, j);
        if (batch->hold_waited && batch->held < HELD_JOBS_MAX)
            sched_hold_ended(c, batch);
    }
}

void beginning_answered(pst_core_t *c, job_t *j)
{
    beginning_t *b = pst_take(&j->leads);
    b->leading = false;
    use(c, b);
    release(c, b);
}

void beginning_failed(pst_core_t *c, job_t *j)
{
    beginning_t *b = pst_take(&j->leads);
    b->leading = false;
    release(c, b);
    forget(c, b);
}

void beginning_free_all(pst_core_t *c)
{
    while (!pst_link_empty(&c->beginnings_used)) {
        beginning_t *b = PST_CONTAINER(c->beginnings_used.next, beginning_t, used);
        pst_link_init(&b->held); /* its jobs are gone */
        forget(c, b);
    }
}
