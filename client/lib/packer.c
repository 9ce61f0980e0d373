#include "lib/packer.h"

#include <xxhash.h>

#include "lib/squeeze.h"

#define PACKS_OPEN_MAX 256u
#define TEXT_BYTES_MAX ((size_t)8 << 20)
#define TEXT_KEEP_MAX ((size_t)2 << 20) /* a buffer that grew past this for one job is not kept */
#define SQUEEZE_AFTER 2u /* packs: smaller batches are done sooner without threads */

/* Strings of the headers lie in `names` one after the other; their views get their addresses when the pack closes,
 * because the buffer moves while it grows. */
typedef struct open_pack {
    uint32_t number, segment; /* when closed */
    uint8_t url;
    uint64_t born;           /* order of opening */
    pst_buf_t route, text, names;
    pst_job_header_t *jobs;
    uint32_t jobs_n, jobs_cap;
} open_pack_t;

struct pst_packer {
    pst_pack_sink_fn *sink;
    void *arg;
    pst_compressor_t *compressor;
    pst_buf_t headers, bodies; /* of the pack being handed out */
    pst_squeeze_t *squeeze;  /* compresses closed packs; NULL: not started, or it cannot be */
    bool squeeze_tried;
    open_pack_t *spare[PST_SQUEEZE_TEXTS_MAX + 1]; /* handed out; they keep their memory for the next */
    uint32_t spares;
    uint64_t key[PACKS_OPEN_MAX]; /* hash of url and route of the pack at the same place */
    open_pack_t *open[PACKS_OPEN_MAX]; /* the first open_n */
    uint32_t open_n;
    uint32_t latest;         /* place of the pack used last */
    uint64_t births;
    size_t text_bytes;       /* in all open packs */
    uint32_t packs, jobs;
    uint32_t segment, segment_jobs;
    uint64_t segment_text;
    pst_view_t no_route;     /* encoded: of rejected lines */
    pst_buf_t no_route_bytes;
};

pst_err_t pst_packer_new(pst_pack_sink_fn *sink, void *arg, pst_packer_t **ret)
{
    pst_packer_t *p = calloc(1, sizeof *p);
    if (!p)
        return PST_E_NOMEM;
    p->sink = sink;
    p->arg = arg;
    p->compressor = pst_compressor_new();
    pst_buf_init(&p->headers, PST_HEADERS_BYTES_MAX);
    pst_buf_init(&p->bodies, 0);
    pst_buf_init(&p->no_route_bytes, 0);
    pst_route_t none = {.allow_fallbacks = true, .require_parameters = true, .max_price_prompt = -1,
                        .max_price_completion = -1, .max_price_request = -1};
    pst_route_encode(&none, &p->no_route_bytes);
    p->no_route = pst_buf_view(&p->no_route_bytes);
    if (!p->compressor || p->no_route_bytes.failed) {
        pst_packer_destroy(&p);
        return PST_E_NOMEM;
    }
    *ret = p;
    return PST_OK;
}

static void free_pack(open_pack_t *o)
{
    if (!o)
        return;
    pst_buf_release(&o->route);
    pst_buf_release(&o->text);
    pst_buf_release(&o->names);
    free(o->jobs);
    free(o);
}

/* Closed packs on their way through the squeeze are owned by it. */
static void forget_squeezed(pst_packer_t *p)
{
    pst_squeezed_t q;
    while (p->squeeze && pst_squeeze_take(p->squeeze, true, &q))
        free_pack(q.of);
}

void pst_packer_destroy(pst_packer_t **pp)
{
    pst_packer_t *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    forget_squeezed(p);
    pst_squeeze_destroy(&p->squeeze);
    for (uint32_t i = 0; i < p->open_n; i++)
        free_pack(p->open[i]);
    for (uint32_t i = 0; i < p->spares; i++)
        free_pack(p->spare[i]);
    pst_compressor_destroy(&p->compressor);
    pst_buf_release(&p->headers);
    pst_buf_release(&p->bodies);
    pst_buf_release(&p->no_route_bytes);
    free(p);
}

uint32_t pst_packer_packs(const pst_packer_t *p)
{
    return p->packs;
}

uint32_t pst_packer_jobs(const pst_packer_t *p)
{
    return p->jobs;
}

/* Closing a pack. */

static void place_names(open_pack_t *o)
{
    const char *at = o->names.p;
    for (uint32_t i = 0; i < o->jobs_n; i++) {
        pst_job_header_t *h = &o->jobs[i];
        h->custom_id.p = h->custom_id.n ? at : NULL;
        at += h->custom_id.n;
        h->message.p = h->message.n ? at : NULL;
        at += h->message.n;
    }
}

/* A segment is closed before it passes its limits, unless it holds nothing yet. */
static uint32_t take_segment(pst_packer_t *p, uint32_t jobs, uint64_t text)
{
    bool passes = p->segment_jobs + jobs > PST_SEGMENT_JOBS_MAX || p->segment_text + text > PST_SEGMENT_TEXT_BYTES_MAX;
    if (p->segment_jobs > 0 && passes) {
        p->segment++;
        p->segment_jobs = 0;
        p->segment_text = 0;
    }
    p->segment_jobs += jobs;
    p->segment_text += text;
    return p->segment;
}

static void trim(pst_buf_t *b)
{
    if (b->cap > TEXT_KEEP_MAX)
        pst_buf_release(b);
    pst_buf_clear(b);
}

/* Its memory is kept for the next. */
static void put_away(pst_packer_t *p, open_pack_t *o)
{
    if (p->spares == PST_COUNT(p->spare)) {
        free_pack(o);
        return;
    }
    trim(&o->text);
    pst_buf_clear(&o->names);
    pst_buf_clear(&o->route);
    o->jobs_n = 0;
    p->spare[p->spares++] = o;
}

static pst_err_t hand_out(pst_packer_t *p, open_pack_t *o, pst_view_t bodies, pst_codec_t codec)
{
    pst_pack_headers_t h = {.url = o->url, .route = pst_buf_view(&o->route), .codec = (uint8_t)codec,
                            .text_bytes = (uint32_t)o->text.n, .jobs = o->jobs, .jobs_n = o->jobs_n};
    place_names(o);
    pst_buf_clear(&p->headers);
    pst_pack_headers_encode(&h, &p->headers);
    pst_err_t e = p->headers.failed ? PST_E_NOMEM : PST_OK;
    pst_pack_out_t out = {.segment = o->segment, .pack = o->number, .jobs = o->jobs_n,
                          .headers = pst_buf_view(&p->headers), .bodies = bodies};
    if (!e)
        e = p->sink(p->arg, &out);
    put_away(p, o);
    return e;
}

/* Hands out what is compressed: all of it, or what needs no waiting. */
static pst_err_t hand_out_squeezed(pst_packer_t *p, bool all)
{
    pst_squeezed_t q;
    pst_err_t e = PST_OK;
    while (!e && p->squeeze && pst_squeeze_take(p->squeeze, all, &q))
        e = hand_out(p, q.of, q.bytes, q.codec);
    return e;
}

static pst_err_t hand_out_here(pst_packer_t *p, open_pack_t *o)
{
    pst_err_t e = hand_out_squeezed(p, true);
    if (e) {
        put_away(p, o);
        return e;
    }
    pst_codec_t codec;
    pst_view_t bodies = pst_compress(p->compressor, pst_buf_view(&o->text), o->jobs_n, &p->bodies, &codec);
    e = hand_out(p, o, bodies, codec);
    trim(&p->bodies);
    return e;
}

static pst_err_t hand_out_by_squeeze(pst_packer_t *p, open_pack_t *o)
{
    pst_err_t e = PST_OK;
    pst_squeezed_t q;
    if (pst_squeeze_full(p->squeeze) && pst_squeeze_take(p->squeeze, true, &q))
        e = hand_out(p, q.of, q.bytes, q.codec);
    pst_squeeze_put(p->squeeze, o, pst_buf_view(&o->text), o->jobs_n);
    return e ? e : hand_out_squeezed(p, false);
}

static bool squeezes(pst_packer_t *p, const open_pack_t *o)
{
    if (!p->squeeze_tried && p->packs > SQUEEZE_AFTER) {
        p->squeeze_tried = true;
        p->squeeze = pst_squeeze_new();
    }
    return p->squeeze && o->text.n <= TEXT_KEEP_MAX;
}

/* The last open pack moves to place i. */
static pst_err_t close_at(pst_packer_t *p, uint32_t i)
{
    open_pack_t *o = p->open[i];
    uint32_t last = --p->open_n;
    p->open[i] = p->open[last];
    p->key[i] = p->key[last];
    p->latest = 0;
    p->text_bytes -= o->text.n;
    o->segment = take_segment(p, o->jobs_n, o->text.n);
    o->number = p->packs++;
    p->jobs += o->jobs_n;
    return squeezes(p, o) ? hand_out_by_squeeze(p, o) : hand_out_here(p, o);
}

static uint32_t largest(const pst_packer_t *p)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->open_n; i++) {
        if (p->open[i]->text.n > p->open[best]->text.n)
            best = i;
    }
    return best;
}

static uint32_t oldest(const pst_packer_t *p)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < p->open_n; i++) {
        if (p->open[i]->born < p->open[best]->born)
            best = i;
    }
    return best;
}

pst_err_t pst_packer_flush(pst_packer_t *p)
{
    pst_err_t e = PST_OK;
    while (!e && p->open_n > 0)
        e = close_at(p, oldest(p));
    return e ? e : hand_out_squeezed(p, true);
}

/* Filling one. */

static bool is_of(const open_pack_t *o, uint8_t url, pst_view_t route)
{
    return o->url == url && pst_view_eq(pst_buf_view(&o->route), route);
}

static open_pack_t *find(pst_packer_t *p, uint64_t key, uint8_t url, pst_view_t route)
{
    for (uint32_t i = 0; i < p->open_n; i++) {
        if (p->key[i] == key && is_of(p->open[i], url, route)) {
            p->latest = i;
            return p->open[i];
        }
    }
    return NULL;
}

static pst_err_t begin(pst_packer_t *p, uint64_t key, uint8_t url, pst_view_t route)
{
    pst_err_t e = p->open_n == PACKS_OPEN_MAX ? close_at(p, largest(p)) : PST_OK;
    if (e)
        return e;
    uint32_t i = p->open_n;
    open_pack_t *o = p->spares > 0 ? p->spare[--p->spares] : calloc(1, sizeof *o);
    if (!o)
        return PST_E_NOMEM;
    o->url = url;
    o->born = p->births++;
    pst_buf_putv(&o->route, route);
    if (o->route.failed) {
        put_away(p, o);
        return PST_E_NOMEM;
    }
    p->open[i] = o;
    p->key[i] = key;
    p->latest = i;
    p->open_n++;
    return PST_OK;
}

static pst_err_t close_pack(pst_packer_t *p, const open_pack_t *o)
{
    uint32_t i = 0;
    while (p->open[i] != o)
        i++;
    return close_at(p, i);
}

/* An open pack of the route with room for one job of text_bytes. */
static pst_err_t pack_for(pst_packer_t *p, uint8_t url, pst_view_t route, size_t text_bytes, open_pack_t **ret)
{
    bool again = p->latest < p->open_n && is_of(p->open[p->latest], url, route);
    uint64_t key = again ? p->key[p->latest] : XXH3_64bits_withSeed(route.p, route.n, url);
    open_pack_t *o = again ? p->open[p->latest] : find(p, key, url, route);
    pst_err_t e = PST_OK;
    if (o && o->text.n + text_bytes > PST_PACK_TEXT_BYTES) {
        e = close_pack(p, o);
        o = NULL;
    }
    if (!e && !o && !(e = begin(p, key, url, route)))
        o = p->open[p->latest];
    *ret = o;
    return e;
}

static pst_err_t add_header(open_pack_t *o, const pst_job_header_t *h)
{
    if (o->jobs_n == o->jobs_cap) {
        uint32_t cap = PST_MIN(PST_MAX(o->jobs_cap * 2, 16u), (uint32_t)PST_PACK_JOBS_MAX);
        pst_job_header_t *jobs = realloc(o->jobs, cap * sizeof *jobs);
        if (!jobs)
            return PST_E_NOMEM;
        o->jobs = jobs;
        o->jobs_cap = cap;
    }
    pst_buf_putv(&o->names, h->custom_id);
    pst_buf_putv(&o->names, h->message);
    if (o->names.failed)
        return PST_E_NOMEM;
    o->jobs[o->jobs_n++] = *h;
    return PST_OK;
}

static pst_err_t close_full(pst_packer_t *p, const open_pack_t *o)
{
    pst_err_t e = PST_OK;
    if (o->jobs_n == PST_PACK_JOBS_MAX || o->text.n >= PST_PACK_TEXT_BYTES)
        e = close_pack(p, o);
    while (!e && p->text_bytes > TEXT_BYTES_MAX)
        e = close_at(p, largest(p));
    return e;
}

pst_err_t pst_packer_add(pst_packer_t *p, uint32_t index, const pst_line_job_t *job)
{
    open_pack_t *o;
    pst_err_t e = pack_for(p, (uint8_t)job->url, job->route, job->body.n, &o);
    if (e)
        return e;
    pst_job_header_t h = {.index = index,
                          .custom_id = job->custom_id,
                          .input_tokens = job->input_tokens,
                          .output_tokens = job->output_tokens,
                          .body_bytes = (uint32_t)job->body.n,
                          .prefix = job->prefix};
    pst_buf_putv(&o->text, job->body);
    if (o->text.failed || add_header(o, &h) != PST_OK)
        return PST_E_NOMEM;
    p->text_bytes += job->body.n;
    return close_full(p, o);
}

pst_err_t pst_packer_reject(pst_packer_t *p, uint32_t index, uint32_t line, const pst_line_fault_t *fault)
{
    open_pack_t *o;
    pst_err_t e = pack_for(p, PST_URL_CHAT, p->no_route, 0, &o);
    if (e)
        return e;
    pst_job_header_t h = {.index = index,
                          .custom_id = fault->custom_id,
                          .reject = (uint8_t)fault->code,
                          .line = line,
                          .message = pst_view_str(fault->message)};
    e = add_header(o, &h);
    return e ? e : close_full(p, o);
}
