/* results.c - result packs, fetched from a cursor on, opened and written as lines.  One answer at a time is held, and
 * of its packs one is open, with one of its blobs decompressed.
 *
 * Each segment of a batch has its own row of packs and its own cursor, and a running batch may get results in any of
 * them: a segment is read until it has no more for now, then the next is asked.  Only the last of a silent round is
 * asked to wait, and the broker wakes it whichever segment gets something. */
#include "lib/client.h"
#include "lib/render.h"
#include "wire/codec.h"

#define FETCH_BYTES (2u << 20)
#define PACK_MEMORY_MAX ((size_t)64 << 20)
/* A blob holds the bodies of one OUTCOMES message: at most its frame unpacked, or one answer at its limit. */
#define BLOB_TEXT_MAX ((size_t)256 << 20)

#define NO_BLOB UINT32_MAX
/* A batch of as many jobs as one can have, each segment full, has this many. */
#define SEGMENTS_MAX (PST_BATCH_JOBS_MAX / PST_SEGMENT_JOBS_MAX * 16)

/* One result pack, open for reading. */
typedef struct opened {
    pst_arena_t arena;
    pst_result_pack_t pack;
    uint32_t blob;           /* whose text is in `text`; NO_BLOB: none */
    pst_buf_t text;
    pst_view_t blob_text;    /* its text, in `text` or in the pack where it is not compressed */
    pst_decompressor_t *decompressor;
} opened_t;

static void opened_init(opened_t *o)
{
    *o = (opened_t){.blob = NO_BLOB};
    pst_arena_init(&o->arena, PACK_MEMORY_MAX);
    pst_buf_init(&o->text, BLOB_TEXT_MAX);
}

static void opened_release(opened_t *o)
{
    pst_arena_release(&o->arena);
    pst_buf_release(&o->text);
    pst_decompressor_destroy(&o->decompressor);
}

static pst_err_t open_pack(opened_t *o, pst_view_t bytes)
{
    pst_arena_clear(&o->arena);
    o->blob = NO_BLOB;
    return pst_result_pack_decode(bytes, &o->arena, &o->pack);
}

static pst_err_t decompress(opened_t *o, const pst_result_blob_t *b)
{
    if (!o->decompressor && !(o->decompressor = pst_decompressor_new()))
        return PST_E_NOMEM;
    pst_buf_clear(&o->text);
    char *to = pst_buf_reserve(&o->text, b->text_bytes);
    if (!to)
        return PST_E_NOMEM;
    o->blob_text = pst_view(to, b->text_bytes);
    return pst_decompress(o->decompressor, b->codec, b->bytes, to, b->text_bytes);
}

static pst_err_t open_blob(opened_t *o, uint32_t i)
{
    if (i >= o->pack.blobs_n)
        return PST_E_MALFORMED;
    if (o->blob == i)
        return PST_OK;
    const pst_result_blob_t *b = &o->pack.blobs[i];
    pst_err_t e = PST_OK;
    if (b->codec == PST_CODEC_RAW)
        o->blob_text = b->bytes;
    else
        e = decompress(o, b);
    o->blob = e ? NO_BLOB : i;
    return e;
}

static pst_err_t body_of(opened_t *o, const pst_result_t *r, pst_view_t *ret)
{
    *ret = pst_view(NULL, 0);
    if (r->body_bytes == 0)
        return PST_OK;
    pst_err_t e = open_blob(o, r->blob);
    if (e)
        return e;
    if (r->body_offset > o->blob_text.n || r->body_bytes > o->blob_text.n - r->body_offset)
        return PST_E_MALFORMED;
    *ret = pst_view(o->blob_text.p + r->body_offset, r->body_bytes);
    return PST_OK;
}

static pst_err_t render(opened_t *o, const char *batch, const pst_result_t *r, pst_buf_t *out)
{
    pst_view_t body;
    pst_err_t e = body_of(o, r, &body);
    if (e)
        return e;
    pst_render_line(batch, &o->pack, r, body, out);
    return out->failed ? PST_E_NOMEM : PST_OK;
}

struct pst_results {
    pst_client_t *client;
    pst_id_t batch;
    char id[PST_BATCH_TEXT_LEN + 1];
    struct segment {
        uint32_t next;       /* pack to ask for */
        bool ended;
    } *segments;             /* as many as are known of, at least one */
    uint32_t segments_n;
    uint32_t segment;        /* asked last, or next */
    uint32_t silent;         /* of those that have not ended, how many in a row had nothing */
    uint32_t open_n;         /* segments that have not ended */
    pst_reply_t *reply;      /* the last RESULTS; NULL: ask */
    uint32_t pack;           /* next of its packs */
    bool ahead;              /* the next was asked for already */
    opened_t open;
    uint32_t at;             /* next result of the open pack */
    bool ended;
    pst_buf_t line;
};

static bool grow_segments(pst_results_t *r, uint32_t n)
{
    if (n <= r->segments_n)
        return true;
    struct segment *s = realloc(r->segments, n * sizeof *s);
    if (!s)
        return false;
    memset(s + r->segments_n, 0, (n - r->segments_n) * sizeof *s);
    r->open_n += n - r->segments_n;
    r->segments = s;
    r->segments_n = n;
    return true;
}

pst_err_t pst_results_open(pst_client_t *c, const pst_id_t *batch, pst_results_t **ret)
{
    pst_results_t *r = calloc(1, sizeof *r);
    if (!r)
        return pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    r->client = c;
    r->batch = *batch;
    pst_id_text(batch, r->id);
    opened_init(&r->open);
    if (!grow_segments(r, 1)) {
        pst_results_close(&r);
        return pst_errf(&c->words, PST_E_NOMEM, "out of memory");
    }
    *ret = r;
    return PST_OK;
}

void pst_results_close(pst_results_t **pr)
{
    pst_results_t *r = *pr;
    *pr = NULL;
    if (!r)
        return;
    pst_reply_destroy(&r->reply);
    opened_release(&r->open);
    pst_buf_release(&r->line);
    free(r->segments);
    free(r);
}

static pst_err_t damaged(pst_client_t *c, pst_err_t e)
{
    if (e == PST_E_NOMEM)
        return pst_errf(&c->words, e, "out of memory");
    return pst_errf(&c->words, PST_E_MALFORMED, "a result cannot be read: use the penstock of the broker's release");
}

/* What an answer says of the segment it is about, and of the batch. */
static pst_err_t take_answer(pst_results_t *r, const pst_msg_results_t *in)
{
    if (in->segments > SEGMENTS_MAX)
        return damaged(r->client, PST_E_MALFORMED);
    if (!grow_segments(r, in->segments))
        return damaged(r->client, PST_E_NOMEM);
    struct segment *s = &r->segments[r->segment];
    s->next = in->next.pack;
    if (in->ended && !s->ended)
        r->open_n--;
    s->ended |= in->ended;
    if (in->packs_n)
        r->silent = 0;
    else if (!s->ended)
        r->silent++;
    r->pack = 0;
    return PST_OK;
}

/* Only if there is no other to be asked first. */
static uint32_t wait_for(const pst_results_t *r, uint32_t wait_ms)
{
    return r->silent + 1 < r->open_n ? 0 : PST_MIN(wait_ms, (uint32_t)PST_WAIT_MS_MAX);
}

static pst_msg_fetch_t next_fetch(const pst_results_t *r, uint32_t wait_ms)
{
    return (pst_msg_fetch_t){.batch = r->batch,
                             .cursor = {r->segment, r->segments[r->segment].next},
                             .bytes = FETCH_BYTES,
                             .wait_ms = wait_ms};
}

static bool says_nothing(const pst_reply_t *reply)
{
    const pst_msg_t *in = pst_reply_msg(reply);
    return in->type == PST_MSG_RESULTS && in->u.results.packs_n == 0 && !in->u.results.ended;
}

/* What was fetched ahead was not asked to wait. */
static pst_err_t ask(pst_results_t *r, uint32_t wait_ms)
{
    pst_msg_t m = {.type = PST_MSG_FETCH};
    m.u.fetch = next_fetch(r, wait_ms);
    bool ahead = r->ahead;
    r->ahead = false;
    pst_err_t e = pst_conn_ask(r->client->conn, &m, &r->reply);
    if (e || !ahead || wait_ms == 0 || !says_nothing(r->reply))
        return e;
    pst_reply_destroy(&r->reply);
    return pst_conn_ask(r->client->conn, &m, &r->reply);
}

/* An answer that is as long as it may be is one of many: the next is read by the broker while this one is here. */
static void fetch_ahead(pst_results_t *r, const pst_msg_results_t *in)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < in->packs_n; i++)
        bytes += in->packs[i].n;
    r->ahead = bytes >= FETCH_BYTES / 2 && !in->ended;
    if (!r->ahead)
        return;
    pst_msg_fetch_t next = next_fetch(r, 0);
    pst_conn_fetch_ahead(r->client->conn, &next);
}

static pst_err_t fetch(pst_results_t *r, uint32_t wait_ms)
{
    pst_err_t e = ask(r, wait_for(r, wait_ms));
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r->reply);
    if (in->type == PST_MSG_RESULTS)
        e = take_answer(r, &in->u.results);
    else
        e = damaged(r->client, PST_E_MALFORMED);
    if (e)
        pst_reply_destroy(&r->reply);
    else
        fetch_ahead(r, &in->u.results);
    return e;
}

/* The next segment that has not ended; there is one. */
static void turn_to_next(pst_results_t *r)
{
    do
        r->segment = (r->segment + 1) % r->segments_n;
    while (r->segments[r->segment].ended);
}

/* Opens the next pack of the answer with something in it; false: it has none left. */
static pst_err_t next_of_answer(pst_results_t *r, bool *ret_more)
{
    *ret_more = false;
    const pst_msg_results_t *in = r->reply ? &pst_reply_msg(r->reply)->u.results : NULL;
    while (in && r->pack < in->packs_n && !*ret_more) {
        pst_err_t e = open_pack(&r->open, in->packs[r->pack++]);
        if (e)
            return damaged(r->client, e);
        *ret_more = r->open.pack.results_n > 0;
    }
    return PST_OK;
}

/* *ret_more false: there is none now, in any segment. */
static pst_err_t next_pack(pst_results_t *r, uint32_t wait_ms, bool *ret_more)
{
    r->at = 0;
    r->open.pack.results_n = 0;
    r->silent = 0;
    for (;;) {
        pst_err_t e = next_of_answer(r, ret_more);
        if (e || *ret_more)
            return e;
        pst_reply_destroy(&r->reply);
        r->ended = r->open_n == 0;
        if (r->ended || (r->silent && r->silent >= r->open_n))
            return PST_OK;
        if (r->silent || r->segments[r->segment].ended)
            turn_to_next(r);
        e = fetch(r, wait_ms);
        if (e)
            return e;
    }
}

pst_err_t pst_results_next(pst_results_t *r, uint32_t wait_ms, pst_result_line_t *ret, bool *ret_more, bool *ret_ended)
{
    pst_err_t e = PST_OK;
    *ret_more = r->at < r->open.pack.results_n;
    if (!*ret_more)
        e = next_pack(r, wait_ms, ret_more);
    *ret_ended = !*ret_more && r->ended;
    if (e || !*ret_more)
        return e;
    const pst_result_t *result = &r->open.pack.results[r->at++];
    pst_buf_clear(&r->line);
    if ((e = render(&r->open, r->id, result, &r->line)))
        return damaged(r->client, e);
    *ret = (pst_result_line_t){.index = result->index,
                               .status = (pst_job_status_t)result->status,
                               .line = pst_buf_view(&r->line)};
    return PST_OK;
}

/* One job. */

static const pst_result_t *find_result(const pst_result_pack_t *p, uint32_t index)
{
    for (uint32_t i = 0; i < p->results_n; i++) {
        if (p->results[i].index == index)
            return &p->results[i];
    }
    return NULL;
}

static pst_err_t render_ended(const char *batch, const pst_msg_job_t *job, pst_buf_t *out)
{
    opened_t o;
    opened_init(&o);
    pst_err_t e = open_pack(&o, job->pack);
    const pst_result_t *r = e ? NULL : find_result(&o.pack, job->index);
    if (!e)
        e = r ? render(&o, batch, r, out) : PST_E_MALFORMED;
    opened_release(&o);
    return e;
}

static pst_err_t render_job(pst_client_t *c, const pst_id_t *batch, const pst_msg_job_t *job, char **ret)
{
    char id[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(batch, id);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_err_t e = PST_OK;
    if (job->state == PST_STATE_ENDED)
        e = render_ended(id, job, &b);
    else
        pst_render_state(id, job, &b);
    char *text = e ? NULL : pst_buf_detach(&b, NULL);
    pst_buf_release(&b);
    if (!text)
        return damaged(c, e ? e : PST_E_NOMEM);
    *ret = text;
    return PST_OK;
}

pst_err_t pst_job_get(pst_client_t *c, const pst_id_t *batch, uint32_t index, const char *custom_id, char **ret,
                      bool *ret_ended)
{
    pst_msg_t m = {.type = PST_MSG_GET};
    m.u.get = (pst_msg_get_t){.batch = *batch,
                              .by_index = !custom_id,
                              .index = index,
                              .custom_id = pst_view_str(custom_id)};
    if (m.u.get.custom_id.n > PST_CUSTOM_ID_BYTES_MAX)
        return pst_errf(&c->words, PST_E_NOT_FOUND, "no such job: a custom_id has at most 512 bytes");
    pst_reply_t *r = NULL;
    pst_err_t e = pst_conn_ask(c->conn, &m, &r);
    if (e)
        return e;
    const pst_msg_t *in = pst_reply_msg(r);
    if (in->type == PST_MSG_JOB) {
        e = render_job(c, batch, &in->u.job, ret);
        *ret_ended = in->u.job.state == PST_STATE_ENDED;
    } else {
        e = damaged(c, PST_E_MALFORMED);
    }
    pst_reply_destroy(&r);
    return e;
}
