/* api_anthropic.c - /v1/messages: Anthropic's messages at once, and its batches of them.
 *
 * A batch of any dialect can be read here: "msgbatch_…" and "batch_…" with the same digits are the same batch. */
#include <stdio.h>

#include "gateway/batches.h"
#include "gateway/inlined.h"
#include "gateway/lines.h"
#include "gateway/list.h"
#include "gateway/live.h"

#define LIST_DEFAULT 20u
#define LIST_MOST 1000u /* may be asked for; there are PST_LIST_MAX at most */

/* One message. */

static unsigned put_message(pst_req_t *r, unsigned status, pst_view_t body, pst_buf_t *out)
{
    pst_anthropic_t *x = &pst_gw(r)->anthropic;
    if (status < 400 && pst_anthropic_answer(x, body, pst_view_str(r->id), out) == PST_OK)
        return status;
    pst_buf_clear(out);
    status = status < 400 ? 502 : status;
    pst_anthropic_error_of(x, (int)status, body, pst_view_str(r->id), out);
    return status;
}

static void *stream_new(pst_req_t *r, uint64_t input_tokens)
{
    (void)r;
    pst_anthropic_stream_t *s = calloc(1, sizeof *s);
    if (s)
        pst_anthropic_stream_init(s, input_tokens);
    return s;
}

static void stream_free(void *state)
{
    pst_anthropic_stream_release(state);
    free(state);
}

static void put_chunk(pst_req_t *r, void *state, pst_view_t chunk, pst_buf_t *out)
{
    (void)r;
    pst_anthropic_stream_feed(state, chunk, out);
}

static void put_end(pst_req_t *r, void *state, pst_view_t error, pst_buf_t *out)
{
    (void)r;
    if (error.n > 0)
        pst_anthropic_stream_feed(state, error, out);
    else
        pst_anthropic_stream_end(state, out);
}

/* An error of a translation, as an answer; false: there was none. */
static bool refuse(pst_req_t *r, pst_err_t e, const pst_errbuf_t *why)
{
    if (e == PST_E_INVALID)
        pst_reply_error(r, 400, NULL, NULL, "%s", why->text);
    else if (e)
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
    return e != PST_OK;
}

void pst_messages_create(pst_req_t *r)
{
    static const pst_live_turn_t turn = {.whole = put_message, .chunk = put_chunk, .end = put_end,
                                         .state_new = stream_new, .state_free = stream_free};
    pst_errbuf_t why;
    pst_buf_t body;
    pst_buf_init(&body, 0);
    pst_err_t e = pst_anthropic_request(&pst_gw(r)->anthropic, pst_buf_view(&r->body), &body, &why);
    if (!refuse(r, e, &why))
        pst_live_begin(r, PST_URL_CHAT, pst_buf_view(&body), &turn);
    pst_buf_release(&body);
}

void pst_messages_count(pst_req_t *r)
{
    pst_errbuf_t why;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_err_t e = pst_anthropic_count_tokens(&pst_gw(r)->anthropic, pst_buf_view(&r->body), &out, &why);
    if (refuse(r, e, &why))
        pst_buf_release(&out);
    else
        pst_reply_json(r, &out);
}

/* One batch.  results_url is a path: SDKs put their base URL before it, which only they know. */

static void show(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    (void)record;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_anthropic_batch(b, pst_view(NULL, 0), &out);
    pst_reply_json(r, &out);
}

static void show_deleted(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    (void)record;
    pst_id_t id;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    if (pst_id_parse(pst_view_str(b->id), &id) == PST_OK)
        pst_anthropic_batch_deleted(&id, &out);
    pst_reply_json(r, &out);
}

void pst_messages_batch_begin(pst_req_t *r)
{
    static const pst_inlined_way_t way = {.anthropic = true, .show = show};
    pst_inlined_begin(r, &way);
}

void pst_messages_batch(pst_req_t *r)
{
    pst_about_begin(r, show, pst_about_show);
}

void pst_messages_cancel(pst_req_t *r)
{
    pst_about_begin(r, show, pst_about_cancel);
}

void pst_messages_delete(pst_req_t *r)
{
    pst_about_begin(r, show_deleted, pst_about_delete);
}

/* Its results. */

typedef struct results {
    pst_req_t *r;
    pst_lines_t *lines;
    pst_buf_t line;
} results_t;

static void results_gone(pst_req_t *r)
{
    results_t *s = r->state;
    pst_lines_destroy(&s->lines);
    pst_buf_release(&s->line);
    free(s);
}

static pst_err_t put_result(void *arg, pst_reader_t *reader, const pst_result_t *result, pst_buf_t *out)
{
    results_t *s = arg;
    pst_buf_clear(&s->line);
    pst_err_t e = pst_reader_line(reader, result, &s->line);
    if (!e)
        e = pst_anthropic_result(&pst_gw(s->r)->anthropic, pst_buf_view(&s->line), out);
    pst_buf_putc(out, '\n');
    return e;
}

static void on_more(void *arg)
{
    const results_t *s = arg;
    pst_req_wake(s->r);
}

static ptrdiff_t pull(pst_req_t *r, char *to, size_t room)
{
    results_t *s = r->state;
    return s->lines ? pst_lines_pull(s->lines, to, room) : PST_PULL_END;
}

/* Those of a batch that the broker does not have: none. */
static void show_results(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    (void)record;
    results_t *s = calloc(1, sizeof *s);
    pst_lines_opts_t o = {.g = pst_gw(r), .put = put_result, .more = on_more, .arg = s};
    bool there = b->accepted_ms > 0;
    if (!s || pst_id_parse(pst_view_str(b->id), &o.batch) || (there && !(s->lines = pst_lines_new(&o)))) {
        free(s);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    s->r = r;
    pst_req_state(r, s, results_gone);
    pst_req_stream(r, 200, "application/x-jsonl", UINT64_MAX, pull);
}

void pst_messages_results(pst_req_t *r)
{
    pst_about_begin(r, show_results, pst_about_show);
}

/* All, newest first.  Pages go backwards from an id; what lies before one is found by walking up to it, keeping the ids that
 * were passed last, and is then a page behind the one before them. */

typedef char id_text_t[PST_BATCH_TEXT_LEN + 1];

typedef struct list {
    pst_req_t *r;
    pst_batch_page_t *page;
    uint32_t limit;
    id_text_t after, before; /* empty: not asked for */
    uint64_t passed;         /* while it walks: ids before `before` so far */
    id_text_t ring[PST_LIST_MAX + 1];
    bool more;               /* before the page that is shown; only if it walked */
} list_t;

static void list_gone(pst_req_t *r)
{
    list_t *l = r->state;
    pst_batch_page_forget(&l->page);
    free(l);
}

static void ask_page(list_t *l, const char *after, uint32_t limit, pst_batch_page_fn *fn)
{
    pst_gateway_t *g = pst_gw(l->r);
    pst_batch_page_forget(&l->page);
    l->page = pst_db_is_up(g->db) ? pst_batch_page_new(g, pst_gw_tenant(l->r), after, limit, fn, l) : NULL;
    if (!l->page)
        pst_reply_away(l->r);
}

static void reply_list(list_t *l, const pst_batch_list_t *list)
{
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_anthropic_batch_list(list, pst_view(NULL, 0), &out);
    pst_reply_json(l->r, &out);
}

/* A page's batches; v NULL: answered. */
static pst_batch_list_t read_page(list_t *l, const pst_batch_page_t *p, bool ok)
{
    const pst_record_t *records[PST_LIST_MAX];
    pst_batch_list_t list = {.v = ok ? calloc(PST_LIST_MAX, sizeof *list.v) : NULL};
    if (list.v)
        pst_batch_page_show(p, &list, records);
    else
        pst_reply_away(l->r);
    return list;
}

static void on_page(void *arg, const pst_batch_page_t *p, bool ok)
{
    list_t *l = arg;
    pst_batch_list_t list = read_page(l, p, ok);
    if (!list.v)
        return;
    if (*l->before)
        list.more = l->more;
    reply_list(l, &list);
    free(list.v);
}

static void end_walk(list_t *l)
{
    uint32_t room = l->limit + 1;
    l->more = l->passed > l->limit;
    if (l->passed == 0)
        reply_list(l, &(pst_batch_list_t){0});
    else if (l->more)
        ask_page(l, l->ring[l->passed % room], l->limit, on_page);
    else
        ask_page(l, "", (uint32_t)l->passed, on_page);
}

static void on_walk(void *arg, const pst_batch_page_t *p, bool ok)
{
    list_t *l = arg;
    pst_batch_list_t list = read_page(l, p, ok);
    if (!list.v)
        return;
    size_t i = 0;
    while (i < list.n && strcmp(list.v[i].id, l->before) > 0)
        memcpy(l->ring[l->passed++ % (l->limit + 1)], list.v[i++].id, sizeof(id_text_t));
    id_text_t last = "";
    if (list.more && i == list.n && i > 0)
        memcpy(last, list.v[i - 1].id, sizeof last);
    free(list.v);
    if (*last)
        ask_page(l, last, PST_LIST_MAX, on_walk);
    else
        end_walk(l);
}

/* An id of the query; false: answered, it is none. */
static bool read_id(pst_req_t *r, const char *name, id_text_t to)
{
    const char *text = pst_req_query(r, name);
    pst_id_t id;
    if (!text || !*text)
        return true;
    if (pst_anthropic_batch_id(pst_view_str(text), &id) && pst_id_parse(pst_view_str(text), &id)) {
        pst_reply_error(r, 400, NULL, NULL, "%s: must be the id of a batch", name);
        return false;
    }
    pst_id_text(&id, to);
    return true;
}

void pst_messages_batches(pst_req_t *r)
{
    list_t *l = calloc(1, sizeof *l);
    if (!l) {
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    l->r = r;
    pst_req_state(r, l, list_gone);
    if (!pst_list_query(r, LIST_MOST, LIST_DEFAULT, &l->limit) || !read_id(r, "after_id", l->after) ||
        !read_id(r, "before_id", l->before))
        return;
    l->limit = PST_MIN(l->limit, (uint32_t)PST_LIST_MAX);
    if (*l->after && *l->before)
        pst_reply_error(r, 400, NULL, NULL, "before_id and after_id exclude each other: give one of them");
    else if (*l->before)
        ask_page(l, "", PST_LIST_MAX, on_walk);
    else
        ask_page(l, l->after, l->limit, on_page);
}
