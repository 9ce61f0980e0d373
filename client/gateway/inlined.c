/* inlined.c - batches that come with their requests in them: read as they arrive, each request written into a file of its
 * batch's own, and what the body says beside them into the batch's record.
 *
 *   body ──► inline reader ──► request ──► its line ──► pieces        the socket is not read while they are busy
 *   the end ──► pieces are a file ──► Idempotency-Key ──► record ──► the batch is shown
 * Anthropic's requests are said in our words at once: one that cannot be is refused with its place.  OpenRouter's wait as they
 * are for what may come after them, and are read with the file (import_elements.h). */
#include <stdio.h>

#include "gateway/anthropic.h"
#include "gateway/batches.h"
#include "gateway/inlined.h"
#include "gateway/openrouter.h"
#include "lib/dedupe.h"
#include "proc/clock.h"

#define PROVIDER_BYTES_MAX 4096u /* it is put into each request */

typedef struct inlined {
    pst_making_t m;          /* first: a->more */
    const pst_inlined_way_t *way;
    pst_inline_t *reader;
    pst_buf_t line;
    pst_errbuf_t why;        /* of a request that was refused */
    pst_dedupe_t ids;        /* of Anthropic's requests */
} inlined_t;

static inlined_t *of(const pst_req_t *r)
{
    const pst_about_t *a = r->state;
    return a->more;
}

static void inlined_free(void *more)
{
    inlined_t *x = more;
    pst_making_release(&x->m);
    pst_inline_destroy(&x->reader);
    pst_buf_release(&x->line);
    pst_dedupe_release(&x->ids);
    free(x);
}

/* Requests. */

static pst_err_t put_openrouter(inlined_t *x, uint64_t index, pst_view_t text)
{
    (void)index;
    pst_openrouter_put_element(&x->line, text);
    return PST_OK;
}

/* Results are told apart by their ids alone, which have no escapes. */
static pst_err_t check_id(inlined_t *x, uint64_t index)
{
    bool fresh;
    const pst_json_t *j = &x->m.a->g->anthropic.json;
    pst_view_t id = pst_json_raw(j, pst_json_get(j, 0, "custom_id"));
    pst_err_t e = pst_dedupe_add(&x->ids, pst_dedupe_hash(&x->ids, id), &fresh);
    if (!e && !fresh)
        e = pst_errf(&x->why, PST_E_INVALID, "requests.%llu.custom_id: %.*s is that of another request",
                     (unsigned long long)index, (int)id.n, id.p);
    return e;
}

static pst_err_t put_anthropic(inlined_t *x, uint64_t index, pst_view_t text)
{
    pst_err_t e = pst_anthropic_batch_line(&x->m.a->g->anthropic, text, index, &x->line, &x->why);
    pst_buf_putc(&x->line, '\n');
    return e ? e : check_id(x, index);
}

static pst_err_t on_request(void *arg, uint64_t index, pst_view_t text)
{
    inlined_t *x = arg;
    pst_buf_clear(&x->line);
    pst_err_t e = x->way->anthropic ? put_anthropic(x, index, text) : put_openrouter(x, index, text);
    if (e)
        return e;
    if (x->line.failed)
        return PST_E_NOMEM;
    pst_pieces_put(x->m.input, pst_buf_view(&x->line));
    return PST_OK;
}

static void refuse(inlined_t *x, pst_err_t e)
{
    uint64_t at;
    const char *fault = pst_inline_fault(x->reader, &at);
    pst_req_t *r = x->m.a->r;
    if (e == PST_E_INVALID)
        pst_reply_error(r, 400, NULL, NULL, "%s", x->why.text);
    else if (e == PST_E_NOMEM)
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
    else
        pst_reply_error(r, e == PST_E_TOO_LARGE ? 413 : 400, NULL, NULL, "%s (at byte %llu of the body)", fault,
                        (unsigned long long)at);
}

/* The body. */

static void on_room(void *arg)
{
    inlined_t *x = arg;
    pst_req_go_on(x->m.a->r);
}

static void on_made(void *arg, bool ok)
{
    inlined_t *x = arg;
    pst_making_t *m = &x->m;
    m->wish.file = pst_arena_copy(&m->a->arena, pst_view_str(pst_pieces_id(m->input))).p;
    if (ok && m->wish.file)
        pst_making_claim(m, pst_making_record);
    else
        pst_reply_away(m->a->r);
}

void pst_inlined_begin(pst_req_t *r, const pst_inlined_way_t *way)
{
    pst_gateway_t *g = pst_gw(r);
    if (pst_db_is_full(g->db)) {
        pst_reply_full(r);
        return;
    }
    inlined_t *x = calloc(1, sizeof *x);
    pst_pieces_events_t events = {.room = on_room, .made = on_made, .arg = x};
    if (!x || !pst_making_begin(&x->m, r, way->show)) {
        free(x);
        pst_reply_away(r);
        return;
    }
    x->way = way;
    pst_dedupe_init(&x->ids, pst_random_u64());
    x->m.a->more = x;
    x->m.a->more_gone = inlined_free;
    x->reader = pst_inline_new(PST_OPENROUTER_ARRAY, g->opts.config->line_bytes_max, on_request, x);
    x->m.input = pst_pieces_new(g, &events);
    if (!x->m.input)
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
}

void pst_inlined_data(pst_req_t *r, pst_view_t bytes)
{
    inlined_t *x = of(r);
    pst_err_t e = pst_inline_feed(x->reader, bytes.p, bytes.n);
    if (!e && !pst_req_keeps(r, pst_inline_memory(x->reader) + pst_pieces_memory(x->m.input)))
        return;
    if (e)
        refuse(x, e);
    else if (pst_pieces_is_lost(x->m.input))
        pst_reply_away(r);
    else if (pst_db_is_full(pst_gw(r)->db))
        pst_reply_full(r);
    else if (pst_pieces_is_busy(x->m.input))
        pst_req_pause(r);
}

/* What it says beside the requests. */

static void put_members(const inlined_t *x, pst_buf_t *b)
{
    static const char *const names[] = {"input_file_id", "endpoint", "completion_window", "metadata", "priority",
                                        "max_cost_usd",  "name",     "model",             "skip_invalid", "callback_url"};
    pst_buf_putc(b, '{');
    for (size_t i = 0; i < PST_COUNT(names); i++) {
        pst_view_t v = pst_inline_member(x->reader, names[i]);
        if (!v.p)
            continue;
        pst_json_put_key(b, names[i]);
        pst_buf_putv(b, v);
    }
    pst_buf_putc(b, '}');
}

/* OpenAI's form at OpenRouter's path. */
static void make_of_file(inlined_t *x)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_members(x, &b);
    pst_pieces_drop(&x->m.input);
    x->m.a->show = pst_batches_show;
    pst_making_of_file(&x->m, pst_buf_view(&b));
    pst_buf_release(&b);
}

static bool read_common(inlined_t *x)
{
    pst_buf_t b;
    pst_json_t j;
    pst_buf_init(&b, 0);
    pst_json_init(&j);
    put_members(x, &b);
    bool parsed = !b.failed && pst_json_parse(&j, pst_buf_view(&b), NULL) == PST_OK;
    if (!parsed)
        pst_reply_error(x->m.a->r, 503, NULL, NULL, "out of memory"); /* each of them was parsed before */
    x->m.wish.skip_invalid = true; /* a bad request spoils none of the others */
    bool well = parsed && pst_making_read(&x->m, &j);
    pst_json_release(&j);
    pst_buf_release(&b);
    return well;
}

static bool read_openrouter(inlined_t *x)
{
    pst_errbuf_t eb;
    pst_openrouter_submit_t s;
    pst_arena_t *arena = &x->m.a->arena;
    pst_batch_wish_t *w = &x->m.wish;
    pst_err_t e = pst_openrouter_submit_read(x->reader, arena, &s, &eb);
    if (e == PST_E_INPUT) {
        pst_reply_error(x->m.a->r, 400, NULL, NULL, "%s", eb.text);
        return false;
    }
    if (s.provider.n > PROVIDER_BYTES_MAX) {
        pst_reply_error(x->m.a->r, 400, NULL, NULL, "provider may have %u bytes: shorten it", PROVIDER_BYTES_MAX);
        return false;
    }
    const char *endpoint = e ? NULL : pst_arena_copy(arena, s.endpoint).p;
    const char *model = e ? NULL : pst_arena_copy(arena, s.model).p;
    const char *provider = e ? NULL : pst_arena_copy(arena, s.provider).p;
    bool hours = s.window_s % 3600 == 0;
    const char *window = e ? NULL : pst_arena_printf(arena, "%llu%c", (unsigned long long)(hours ? s.window_s / 3600 : s.window_s),
                                                     hours ? 'h' : 's').p;
    if (!endpoint || !model || !provider || !window) {
        pst_reply_error(x->m.a->r, 503, NULL, NULL, "out of memory");
        return false;
    }
    w->endpoint = endpoint;
    w->model = model;
    w->provider = provider;
    w->window = window;
    w->dialect = "openrouter";
    w->elements = true;
    return true;
}

static bool read_anthropic(inlined_t *x)
{
    x->m.wish.endpoint = pst_url_text(PST_URL_CHAT);
    x->m.wish.window = "24h";
    x->m.wish.dialect = "anthropic";
    return true;
}

static bool read_members(inlined_t *x)
{
    return read_common(x) && (x->way->anthropic ? read_anthropic(x) : read_openrouter(x));
}

void pst_inlined_end(pst_req_t *r)
{
    inlined_t *x = of(r);
    pst_file_t file = {.purpose = PST_PURPOSE_INLINE};
    pst_err_t e = pst_inline_end(x->reader);
    bool of_file = !x->way->anthropic && pst_inline_is_whole(x->reader) &&
                   pst_inline_member(x->reader, "input_file_id").p;
    x->m.wish.requests = pst_inline_elements(x->reader);
    if (e && of_file) {
        make_of_file(x);
    } else if (e) {
        refuse(x, e);
    } else if (x->m.wish.requests == 0) {
        pst_reply_error(r, 400, NULL, NULL, "requests: there must be at least one");
    } else if (read_members(x)) {
        snprintf(file.tenant, sizeof file.tenant, "%s", x->m.wish.tenant);
        pst_pieces_end(x->m.input, &file, PST_FILE_EXPIRES_S, false);
    }
}
