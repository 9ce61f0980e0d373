/* api_openrouter.c - /api/v1/batches: OpenRouter's batches, with their results in them, streamed as they are read.
 *
 * A batch that was made in OpenAI's form, of an uploaded file, is shown in OpenAI's words here too: its client reads its files.
 * ?results=true or false asks for OpenRouter's object of any batch, with its results or without. */
#include "gateway/anthropic.h"
#include "gateway/batches.h"
#include "gateway/inlined.h"
#include "gateway/lines.h"
#include "gateway/list.h"
#include "gateway/openrouter.h"

/* What its record adds; texts lie in it, or in the arena. */
static pst_openrouter_about_t about_of(const pst_record_t *record, pst_arena_t *arena)
{
    pst_openrouter_about_t about = {0};
    if (!record)
        return about;
    about.endpoint = *record->endpoint ? record->endpoint : NULL;
    about.model = *record->model ? record->model : NULL;
    pst_json_t j;
    pst_json_init(&j);
    if (*record->errors && pst_json_parse(&j, pst_view_str(record->errors), NULL) == PST_OK) {
        uint32_t first = pst_json_first(&j, pst_json_get(&j, 0, "data"));
        about.error = pst_arena_copy(arena, pst_json_str(&j, pst_json_get(&j, first, "message"), arena)).p;
    }
    pst_json_release(&j);
    return about;
}

static void put_batch(pst_buf_t *b, const pst_batch_t *x, const pst_record_t *record, bool open)
{
    pst_arena_t arena;
    pst_arena_init(&arena, 1 << 20);
    pst_openrouter_about_t about = about_of(record, &arena);
    pst_openrouter_put_batch(b, x, &about, open);
    pst_arena_release(&arena);
}

/* Results. */

typedef struct inside {
    pst_req_t *r;
    pst_lines_t *lines;
    pst_openrouter_reader_t reader;
    pst_buf_t line, turned;
    bool any, messages;      /* one was put; answers are to be Anthropic's */
} inside_t;

static void inside_gone(pst_req_t *r)
{
    inside_t *s = r->state;
    pst_lines_destroy(&s->lines);
    pst_openrouter_reader_release(&s->reader);
    pst_buf_release(&s->line);
    pst_buf_release(&s->turned);
    free(s);
}

/* The line with its answer said as a Message; as it is, if that is none. */
static pst_view_t turn_answer(inside_t *s)
{
    pst_json_t *j = &s->reader.json;
    pst_view_t line = pst_buf_view(&s->line);
    if (pst_json_parse(j, line, NULL))
        return line;
    uint32_t body = pst_json_path(j, 0, "response", "body", NULL);
    if (!pst_json_is(j, body, PST_JSON_OBJECT))
        return line;
    const pst_json_tok_t *t = &j->tok[body];
    pst_buf_clear(&s->turned);
    pst_buf_put(&s->turned, line.p, t->start);
    pst_err_t e = pst_anthropic_answer(&pst_gw(s->r)->anthropic, pst_json_raw(j, body), pst_view(NULL, 0), &s->turned);
    pst_buf_put(&s->turned, line.p + t->end, line.n - t->end);
    return e || s->turned.failed ? line : pst_buf_view(&s->turned);
}

static pst_err_t put_result(void *arg, pst_reader_t *reader, const pst_result_t *result, pst_buf_t *out)
{
    inside_t *s = arg;
    pst_buf_clear(&s->line);
    pst_err_t e = pst_reader_line(reader, result, &s->line);
    if (e)
        return e;
    bool turn = s->messages && result->status == PST_JOB_COMPLETED;
    e = pst_openrouter_put_result(&s->reader, turn ? turn_answer(s) : pst_buf_view(&s->line), !s->any, out);
    s->any = true;
    return e;
}

static void on_more(void *arg)
{
    const inside_t *s = arg;
    pst_req_wake(s->r);
}

static ptrdiff_t pull(pst_req_t *r, char *to, size_t room)
{
    inside_t *s = r->state;
    return pst_lines_pull(s->lines, to, room);
}

static void stream(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    inside_t *s = calloc(1, sizeof *s);
    pst_lines_opts_t o = {.g = pst_gw(r), .tail = "]}", .put = put_result, .more = on_more, .arg = s};
    if (!s || pst_id_parse(pst_view_str(b->id), &o.batch) || !(s->lines = pst_lines_new(&o))) {
        free(s);
        pst_reply_error(r, 503, NULL, NULL, "out of memory");
        return;
    }
    s->r = r;
    s->messages = record && *record->elements && strcmp(record->endpoint, PST_OPENROUTER_MESSAGES) == 0;
    pst_openrouter_reader_init(&s->reader);
    pst_req_state(r, s, inside_gone);
    put_batch(pst_lines_head(s->lines), b, record, true);
    pst_req_stream(r, 200, PST_JSON_TYPE, UINT64_MAX, pull);
}

/* One. */

static void reply_without(pst_req_t *r, unsigned status, const pst_batch_t *b, const pst_record_t *record)
{
    pst_buf_t out;
    pst_buf_init(&out, 0);
    put_batch(&out, b, record, false);
    pst_reply_json_status(r, status, &out);
}

static bool is_openai(const pst_req_t *r, const pst_record_t *record)
{
    return !pst_req_query(r, "results") && record && strcmp(record->dialect, "openai") == 0;
}

static void show(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    const char *results = pst_req_query(r, "results");
    if (is_openai(r, record)) {
        pst_batches_show(r, b, record);
    } else if (results && strcmp(results, "false") == 0) {
        reply_without(r, 200, b, record);
    } else if (b->accepted_ms) {
        stream(r, b, record);
    } else { /* the broker has nothing of it */
        pst_buf_t out;
        pst_buf_init(&out, 0);
        put_batch(&out, b, record, true);
        pst_openrouter_put_end(&out);
        pst_reply_json(r, &out);
    }
}

static void show_cancelled(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    if (is_openai(r, record))
        pst_batches_show(r, b, record);
    else
        reply_without(r, 200, b, record);
}

static void show_made(pst_req_t *r, const pst_batch_t *b, const pst_record_t *record)
{
    reply_without(r, 202, b, record);
}

void pst_openrouter_create_begin(pst_req_t *r)
{
    static const pst_inlined_way_t way = {.show = show_made};
    pst_inlined_begin(r, &way);
}

void pst_openrouter_get(pst_req_t *r)
{
    pst_about_begin(r, show, pst_about_show);
}

void pst_openrouter_cancel(pst_req_t *r)
{
    pst_about_begin(r, show_cancelled, pst_about_cancel);
}

/* All. */

static void put_page(const pst_batch_page_t *p, pst_batch_list_t *list, const pst_record_t **records,
                     pst_openrouter_about_t *about, pst_buf_t *out)
{
    pst_arena_t arena;
    pst_arena_init(&arena, 4 << 20);
    pst_batch_page_show(p, list, records);
    for (size_t i = 0; i < list->n; i++)
        about[i] = about_of(records[i], &arena);
    pst_openrouter_put_list(out, list, about);
    pst_arena_release(&arena);
}

static void on_page(void *arg, const pst_batch_page_t *p, bool ok)
{
    pst_req_t *r = arg;
    const pst_record_t *records[PST_LIST_MAX];
    pst_openrouter_about_t about[PST_LIST_MAX];
    pst_batch_list_t list = {.v = ok ? calloc(PST_LIST_MAX, sizeof *list.v) : NULL};
    if (!list.v) {
        pst_reply_away(r);
        return;
    }
    pst_buf_t out;
    pst_buf_init(&out, 0);
    put_page(p, &list, records, about, &out);
    free(list.v);
    pst_reply_json(r, &out);
}

void pst_openrouter_list(pst_req_t *r)
{
    pst_batch_page_ask(r, on_page);
}
