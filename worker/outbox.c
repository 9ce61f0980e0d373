#include "outbox.h"

#include "base/list.h"
#include "wire/codec.h"

/* Segments of one message: more of them seal it early. */
#define GROUPS_MAX 32
#define SPARE_MESSAGES_MAX 4
/* A spare message keeps at most so much of each buffer. */
#define TEXT_KEEP_BYTES ((size_t)256 << 10)
/* Thorough compression takes about 5 ns a byte, and to begin it as long as 2 KiB more; of the time it may take a
 * hundredth.  What was not used of that is good for about 64 KiB. */
#define THOROUGH_BEGIN_BYTES 2048
#define THOROUGH_NS ((pst_ns_t)5 * 100)
#define THOROUGH_SAVED_MAX (32 * PST_MS)

/* What `groups` of the message is made from. */
typedef struct group {
    pst_outcome_t *outcomes;
    uint32_t outcomes_cap;
    pst_endpoint_name_t *endpoints;
    uint32_t endpoints_cap;
    pst_limit_report_t *limits;
    uint32_t limits_cap;
    pst_buf_t text;     /* the bodies */
} group_t;

typedef struct message {
    pst_link_t link;
    pst_arena_t arena;  /* ids, names and messages of the outcomes; compressed bodies */
    group_t group[GROUPS_MAX];
    pst_outcome_group_t wire[GROUPS_MAX]; /* what is sent: points into `group` and the arena */
    bool urgent;
    pst_msg_outcomes_t msg;
    uint32_t outcomes;
    size_t bytes;       /* counted in pst_outbox.bytes */
} message_t;

struct pst_outbox {
    message_t *open[2]; /* gathering, [1] what is urgent; NULL: nothing gathered */
    pst_link_t waiting; /* sealed: those with a number in their order, then the urgent, then the others */
    pst_link_t sent;    /* not acknowledged */
    pst_link_t spare;
    uint32_t spares, sent_n;
    uint64_t number;    /* the latest given */
    uint32_t outcomes;
    size_t bytes;
    pst_ns_t now;
    pst_ns_t thorough;  /* what has been compressed thoroughly has used up the time until then */
    pst_compressor_t *compressor;
    pst_buf_t packed;
};

pst_outbox_t *pst_outbox_new(void)
{
    pst_outbox_t *b = pst_calloc(1, sizeof *b);
    pst_link_init(&b->waiting);
    pst_link_init(&b->sent);
    pst_link_init(&b->spare);
    pst_buf_init(&b->packed, 0);
    b->compressor = pst_compressor_new();
    PST_ASSERT(b->compressor);
    return b;
}

static message_t *first(const pst_link_t *head)
{
    return pst_link_empty(head) ? NULL : PST_CONTAINER(head->next, message_t, link);
}

static void free_message(message_t *m)
{
    pst_link_remove(&m->link);
    pst_arena_release(&m->arena);
    for (unsigned i = 0; i < GROUPS_MAX; i++) {
        free(m->group[i].outcomes);
        free(m->group[i].endpoints);
        free(m->group[i].limits);
        pst_buf_release(&m->group[i].text);
    }
    free(m);
}

void pst_outbox_destroy(pst_outbox_t **b)
{
    if (!b || !*b)
        return;
    pst_outbox_t *x = pst_take(b);
    pst_link_t *const lists[] = {&x->waiting, &x->sent, &x->spare};
    for (unsigned i = 0; i < PST_COUNT(lists); i++) {
        while (!pst_link_empty(lists[i]))
            free_message(first(lists[i]));
    }
    for (unsigned i = 0; i < PST_COUNT(x->open); i++) {
        if (x->open[i])
            free_message(x->open[i]);
    }
    pst_compressor_destroy(&x->compressor);
    pst_buf_release(&x->packed);
    free(x);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static message_t *blank_message(pst_outbox_t *b)
{
    message_t *m = first(&b->spare);
    if (m) {
        pst_link_remove(&m->link);
        b->spares--;
        return m;
    }
    m = pst_calloc(1, sizeof *m);
    pst_link_init(&m->link);
    pst_arena_init(&m->arena, 0);
    for (unsigned i = 0; i < GROUPS_MAX; i++)
        pst_buf_init(&m->group[i].text, 0);
    m->msg.groups = m->wire;
    return m;
}

static void recycle(pst_outbox_t *b, message_t *m)
{
    pst_link_remove(&m->link);
    b->bytes -= m->bytes;
    b->outcomes -= m->outcomes;
    if (b->spares == SPARE_MESSAGES_MAX) {
        free_message(m);
        return;
    }
    for (uint32_t i = 0; i < m->msg.groups_n; i++) {
        if (m->group[i].text.cap > TEXT_KEEP_BYTES)
            pst_buf_release(&m->group[i].text);
        pst_buf_clear(&m->group[i].text);
    }
    pst_arena_clear(&m->arena);
    m->msg.groups_n = 0;
    m->msg.number = 0;
    m->outcomes = 0;
    m->bytes = 0;
    pst_link_after(&b->spare, &m->link);
    b->spares++;
}

static pst_view_t keep(message_t *m, pst_view_t v)
{
    if (v.n == 0)
        return pst_view(v.p ? "" : NULL, 0);
    pst_view_t own = pst_arena_copy(&m->arena, v);
    PST_ASSERT(own.p);
    return own;
}

/* The latest group first: outcomes come in runs of one segment. */
static uint32_t find_group(const message_t *m, const pst_id_t *batch, uint32_t segment)
{
    for (uint32_t i = m->msg.groups_n; i-- > 0;) {
        if (m->wire[i].segment == segment && pst_id_eq(&m->wire[i].batch, batch))
            return i;
    }
    return UINT32_MAX;
}

static uint32_t add_group(message_t *m, const pst_id_t *batch, uint32_t segment)
{
    uint32_t i = m->msg.groups_n++;
    m->wire[i] = (pst_outcome_group_t){.batch = *batch, .segment = segment};
    return i;
}

static bool same_name(const pst_endpoint_name_t *a, const pst_endpoint_name_t *b)
{
    return pst_view_eq(a->provider, b->provider) && pst_view_eq(a->model, b->model);
}

static uint16_t endpoint_index(message_t *m, uint32_t at, const pst_endpoint_name_t *name)
{
    group_t *g = &m->group[at];
    pst_outcome_group_t *w = &m->wire[at];
    for (uint32_t i = w->endpoints_n; i-- > 0;) {
        if (same_name(&g->endpoints[i], name))
            return (uint16_t)i;
    }
    pst_grow(g->endpoints, w->endpoints_n, g->endpoints_cap);
    g->endpoints[w->endpoints_n] =
        (pst_endpoint_name_t){keep(m, name->provider), keep(m, name->model)};
    return (uint16_t)w->endpoints_n++;
}

static pst_outcome_t *add_outcome(message_t *m, uint32_t at)
{
    group_t *g = &m->group[at];
    pst_grow(g->outcomes, m->wire[at].outcomes_n, g->outcomes_cap);
    return &g->outcomes[m->wire[at].outcomes_n++];
}

static pst_limit_report_t *find_limit(const group_t *g, uint32_t n, uint16_t endpoint, pst_rate_t rate)
{
    for (uint32_t i = 0; i < n; i++) {
        if (g->limits[i].endpoint == endpoint && g->limits[i].rate == rate)
            return &g->limits[i];
    }
    return NULL;
}

/* A report takes the place of the one before; of more than a group may tell, those that came first are kept up to date.
 * Answers may come in another order than they were made in, but there is no telling which. */
static void add_limit(pst_outbox_t *b, message_t *m, uint32_t at, uint16_t endpoint, const pst_rate_report_t *r)
{
    group_t *g = &m->group[at];
    uint32_t *n = &m->wire[at].limits_n;
    pst_limit_report_t *x = find_limit(g, *n, endpoint, r->rate);
    if (!x && *n == PST_LIMIT_REPORTS_MAX)
        return;
    if (!x) {
        pst_grow(g->limits, *n, g->limits_cap);
        x = &g->limits[(*n)++];
        m->bytes += sizeof *x;
        b->bytes += sizeof *x;
    }
    *x = (pst_limit_report_t){endpoint, (uint8_t)r->rate, r->limit, r->remaining, r->reset_ms};
}

/* ---- sealing --------------------------------------------------------------------------------- */

/* Whether a text that long may be compressed thoroughly; then its time is used.  A long one may use more than was
 * saved: it is done well too, and those behind it wait until time has caught up. */
static bool take_time(pst_outbox_t *b, size_t bytes)
{
    if (b->thorough > b->now)
        return false;
    b->thorough = PST_MAX(b->thorough, pst_ns_since(b->now, THOROUGH_SAVED_MAX));
    b->thorough += (bytes + THOROUGH_BEGIN_BYTES) * THOROUGH_NS;
    return true;
}

static pst_view_t compress(pst_outbox_t *b, bool urgent, pst_view_t text, pst_codec_t *ret_codec)
{
    if (!urgent && take_time(b, text.n))
        return pst_compress_small(b->compressor, text, &b->packed, ret_codec);
    return pst_compress_fast(b->compressor, text, &b->packed, ret_codec);
}

/* Bodies compressed into the arena and their text given up; or the text as it is where that is smaller. */
static void seal_bodies(pst_outbox_t *b, message_t *m, uint32_t at)
{
    pst_buf_t *text = &m->group[at].text;
    pst_result_blob_t *blob = &m->wire[at].blob;
    pst_codec_t codec;
    pst_view_t bytes = compress(b, m->urgent, pst_buf_view(text), &codec);
    *blob = (pst_result_blob_t){(uint8_t)codec, (uint32_t)text->n, bytes};
    if (codec == PST_CODEC_RAW)
        return;
    blob->bytes = keep(m, bytes);
    m->bytes -= text->n - bytes.n;
    b->bytes -= text->n - bytes.n;
    if (text->cap > TEXT_KEEP_BYTES)
        pst_buf_release(text);
    pst_buf_clear(text);
}

static void queue(pst_outbox_t *b, message_t *m)
{
    pst_link_t *before = &b->waiting;
    if (m->urgent) {
        before = b->waiting.next;
        while (before != &b->waiting && (PST_CONTAINER(before, message_t, link)->urgent ||
                                         PST_CONTAINER(before, message_t, link)->msg.number))
            before = before->next;
    }
    pst_link_before(before, &m->link);
}

static void seal(pst_outbox_t *b, bool urgent)
{
    message_t *m = pst_take(&b->open[urgent]);
    for (uint32_t i = 0; i < m->msg.groups_n; i++) {
        m->wire[i].outcomes = m->group[i].outcomes;
        m->wire[i].endpoints = m->group[i].endpoints;
        m->wire[i].limits = m->group[i].limits;
        seal_bodies(b, m, i);
    }
    if (b->packed.cap > TEXT_KEEP_BYTES)
        pst_buf_release(&b->packed);
    queue(b, m);
}

static bool message_full(const message_t *m)
{
    return m->outcomes >= PST_OUTBOX_MESSAGE_OUTCOMES || m->bytes >= PST_OUTBOX_MESSAGE_BYTES;
}

/* A group of the open message for that segment; a body that would not fit begins a new message. */
static uint32_t place(pst_outbox_t *b, bool urgent, const pst_id_t *batch, uint32_t segment, size_t bytes)
{
    message_t **open = &b->open[urgent];
    if (*open && (*open)->bytes + bytes > PST_OUTBOX_MESSAGE_BYTES)
        seal(b, urgent);
    if (*open) {
        uint32_t at = find_group(*open, batch, segment);
        if (at != UINT32_MAX)
            return at;
        if ((*open)->msg.groups_n == GROUPS_MAX)
            seal(b, urgent);
    }
    if (!*open) {
        *open = blank_message(b);
        (*open)->urgent = urgent;
    }
    return add_group(*open, batch, segment);
}

void pst_outbox_set_now(pst_outbox_t *b, pst_ns_t now)
{
    b->now = now;
}

void pst_outbox_add(pst_outbox_t *b, const pst_ending_t *e)
{
    const pst_outcome_t *o = e->outcome;
    size_t bytes = sizeof *o + o->custom_id.n + o->request_id.n + o->message.n + e->body.n;
    uint32_t at = place(b, e->urgent, e->batch, e->segment, bytes);
    message_t *m = b->open[e->urgent];
    pst_outcome_t *x = add_outcome(m, at);
    *x = *o;
    x->endpoint = endpoint_index(m, at, e->endpoint);
    x->custom_id = keep(m, o->custom_id);
    x->request_id = keep(m, o->request_id);
    x->message = keep(m, o->message);
    pst_buf_t *text = &m->group[at].text;
    x->body_offset = (uint32_t)text->n;
    x->body_bytes = (uint32_t)e->body.n;
    pst_buf_putv(text, e->body);
    PST_ASSERT(!text->failed);
    for (unsigned i = 0; i < e->limits_n; i++)
        add_limit(b, m, at, x->endpoint, &e->limits[i]);
    m->outcomes++;
    m->bytes += bytes;
    b->outcomes++;
    b->bytes += bytes;
    if (message_full(m))
        seal(b, e->urgent);
}

/* ---- sending --------------------------------------------------------------------------------- */

const pst_msg_outcomes_t *pst_outbox_next(pst_outbox_t *b)
{
    uint32_t window = PST_OUTBOX_WINDOW + PST_OUTBOX_URGENT_WINDOW;
    if (b->open[true] && b->sent_n < window)
        seal(b, true);
    if (pst_link_empty(&b->waiting) && b->open[false] && b->sent_n == 0)
        seal(b, false);
    message_t *m = first(&b->waiting);
    if (!m || b->sent_n >= (m->urgent ? window : PST_OUTBOX_WINDOW))
        return NULL;
    if (!m->msg.number)
        m->msg.number = ++b->number;
    return &m->msg;
}

void pst_outbox_sent(pst_outbox_t *b)
{
    message_t *m = first(&b->waiting);
    PST_ASSERT(m);
    pst_link_remove(&m->link);
    pst_link_before(&b->sent, &m->link);
    b->sent_n++;
}

bool pst_outbox_ack(pst_outbox_t *b, uint64_t number)
{
    for (pst_link_t *l = b->sent.next; l != &b->sent; l = l->next) {
        message_t *m = PST_CONTAINER(l, message_t, link);
        if (m->msg.number != number)
            continue;
        recycle(b, m);
        b->sent_n--;
        return true;
    }
    return false;
}

/* In front of what was never sent, so that numbers go out in their order. */
void pst_outbox_rewind(pst_outbox_t *b)
{
    while (!pst_link_empty(&b->sent)) {
        pst_link_t *last = b->sent.prev;
        pst_link_remove(last);
        pst_link_after(&b->waiting, last);
    }
    b->sent_n = 0;
}

bool pst_outbox_full(const pst_outbox_t *b)
{
    return b->bytes >= PST_OUTBOX_BYTES_MAX || b->outcomes >= PST_OUTBOX_OUTCOMES_MAX;
}

bool pst_outbox_empty(const pst_outbox_t *b)
{
    return b->outcomes == 0;
}

uint32_t pst_outbox_outcomes(const pst_outbox_t *b)
{
    return b->outcomes;
}

static uint32_t message_refs(const message_t *m, pst_task_ref_t *ret, uint32_t max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->msg.groups_n; i++) {
        const pst_outcome_group_t *w = &m->wire[i];
        for (uint32_t k = 0; k < w->outcomes_n && n < max; k++) {
            const pst_outcome_t *o = &m->group[i].outcomes[k];
            ret[n++] = (pst_task_ref_t){w->batch, w->segment, o->pack, o->slot, o->dispatch};
        }
    }
    return n;
}

uint32_t pst_outbox_refs(const pst_outbox_t *b, pst_task_ref_t *ret, uint32_t max)
{
    uint32_t n = 0;
    const pst_link_t *const lists[] = {&b->sent, &b->waiting};
    for (unsigned i = 0; i < PST_COUNT(lists); i++) {
        for (const pst_link_t *l = lists[i]->next; l != lists[i]; l = l->next)
            n += message_refs(PST_CONTAINER(l, const message_t, link), ret + n, max - n);
    }
    for (unsigned i = 0; i < PST_COUNT(b->open); i++) {
        if (b->open[i])
            n += message_refs(b->open[i], ret + n, max - n);
    }
    return n;
}
