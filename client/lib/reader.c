/* reader.c - result packs from a cursor on, opened and written as lines.  Of the packs of an answer one is open, with one of
 * its blobs decompressed. */
#include "lib/reader.h"

#include "lib/render.h"
#include "wire/codec.h"

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
    /* made where it is used: it costs more than most answers take in all */
    if (b->codec == PST_CODEC_ZSTD && !o->decompressor && !(o->decompressor = pst_decompressor_new()))
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

struct pst_reader {
    pst_id_t batch;
    char id[PST_BATCH_TEXT_LEN + 1];
    uint32_t bytes;          /* asked for at a time */
    struct segment {
        uint32_t next;       /* pack to ask for */
        bool ended;
    } *segments;             /* as many as are known of, at least one */
    uint32_t segments_n;
    uint32_t segment;        /* asked last, or next */
    uint32_t silent;         /* of those that have not ended, how many in a row had nothing */
    uint32_t open_n;         /* segments that have not ended */
    const pst_view_t *packs; /* of the last answer; borrowed, or in `copy` */
    uint32_t packs_n;
    uint32_t pack;           /* next of them */
    pst_arena_t copy;
    opened_t open;
    uint32_t at;             /* next result of the open pack */
};

static bool grow_segments(pst_reader_t *r, uint32_t n)
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

pst_err_t pst_reader_new(const pst_id_t *batch, uint32_t bytes, pst_reader_t **ret)
{
    pst_reader_t *r = calloc(1, sizeof *r);
    if (!r)
        return PST_E_NOMEM;
    r->batch = *batch;
    r->bytes = bytes;
    pst_id_text(batch, r->id);
    pst_arena_init(&r->copy, 0);
    opened_init(&r->open);
    if (!grow_segments(r, 1)) {
        pst_reader_destroy(&r);
        return PST_E_NOMEM;
    }
    *ret = r;
    return PST_OK;
}

void pst_reader_destroy(pst_reader_t **pr)
{
    pst_reader_t *r = *pr;
    *pr = NULL;
    if (!r)
        return;
    opened_release(&r->open);
    pst_arena_release(&r->copy);
    free(r->segments);
    free(r);
}

/* Asking. */

void pst_reader_look_again(pst_reader_t *r)
{
    r->silent = 0;
}

/* The next segment that has not ended; there is one. */
static void turn_to_next(pst_reader_t *r)
{
    do
        r->segment = (r->segment + 1) % r->segments_n;
    while (r->segments[r->segment].ended);
}

/* Only if there is no other to be asked first. */
static uint32_t wait_for(const pst_reader_t *r, uint32_t wait_ms)
{
    return r->silent + 1 < r->open_n ? 0 : PST_MIN(wait_ms, (uint32_t)PST_WAIT_MS_MAX);
}

pst_msg_fetch_t pst_reader_fetch(const pst_reader_t *r, uint32_t wait_ms)
{
    return (pst_msg_fetch_t){.batch = r->batch,
                             .cursor = {r->segment, r->segments[r->segment].next},
                             .bytes = r->bytes,
                             .wait_ms = wait_ms};
}

bool pst_reader_wants(pst_reader_t *r, uint32_t wait_ms, pst_msg_fetch_t *ret, bool *ret_ended)
{
    *ret_ended = r->open_n == 0;
    if (*ret_ended || (r->silent && r->silent >= r->open_n))
        return false;
    if (r->silent || r->segments[r->segment].ended)
        turn_to_next(r);
    *ret = pst_reader_fetch(r, wait_for(r, wait_ms));
    return true;
}

/* Answers. */

static bool copy_packs(pst_reader_t *r, const pst_msg_results_t *in)
{
    pst_arena_clear(&r->copy);
    pst_view_t *v = pst_arena_get(&r->copy, (in->packs_n + 1) * sizeof *v);
    for (uint32_t i = 0; v && i < in->packs_n; i++) {
        v[i] = pst_arena_copy(&r->copy, in->packs[i]);
        if (!v[i].p)
            return false;
    }
    r->packs = v;
    return v;
}

pst_err_t pst_reader_take(pst_reader_t *r, const pst_msg_results_t *in, bool copy)
{
    if (in->segments > SEGMENTS_MAX)
        return PST_E_MALFORMED;
    if (!grow_segments(r, in->segments))
        return PST_E_NOMEM;
    r->packs = in->packs;
    if (copy && !copy_packs(r, in))
        return PST_E_NOMEM;
    struct segment *s = &r->segments[r->segment];
    s->next = in->next.pack;
    if (in->ended && !s->ended)
        r->open_n--;
    s->ended |= in->ended;
    if (in->packs_n)
        r->silent = 0;
    else if (!s->ended)
        r->silent++;
    r->packs_n = in->packs_n;
    r->pack = 0;
    return PST_OK;
}

/* Results. */

pst_err_t pst_reader_next(pst_reader_t *r, const pst_result_t **ret)
{
    *ret = NULL;
    while (r->at >= r->open.pack.results_n) {
        if (r->pack >= r->packs_n)
            return PST_OK;
        r->at = 0;
        r->open.pack.results_n = 0;
        pst_err_t e = open_pack(&r->open, r->packs[r->pack++]);
        if (e)
            return e;
    }
    *ret = &r->open.pack.results[r->at++];
    return PST_OK;
}

pst_err_t pst_reader_line(pst_reader_t *r, const pst_result_t *result, pst_buf_t *out)
{
    return render(&r->open, r->id, result, out);
}

pst_err_t pst_reader_body(pst_reader_t *r, const pst_result_t *result, pst_view_t *ret)
{
    return body_of(&r->open, result, ret);
}

/* One pack. */

static const pst_result_t *find_result(const pst_result_pack_t *p, uint32_t index)
{
    for (uint32_t i = 0; i < p->results_n; i++) {
        if (p->results[i].index == index)
            return &p->results[i];
    }
    return NULL;
}

pst_err_t pst_reader_one(pst_view_t pack, uint32_t index, pst_reader_one_fn *fn, void *arg)
{
    opened_t o;
    opened_init(&o);
    pst_view_t body;
    pst_err_t e = open_pack(&o, pack);
    const pst_result_t *r = e ? NULL : find_result(&o.pack, index);
    if (!e)
        e = r ? body_of(&o, r, &body) : PST_E_MALFORMED;
    if (!e)
        e = fn(arg, &o.pack, r, body);
    opened_release(&o);
    return e;
}
