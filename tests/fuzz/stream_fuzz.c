/* stream_fuzz.c - an answer that any provider may send as it is made.
 *
 * An input is AUCS and the body: A  adapter, '0' on   U  url, '0' on; with bit 2 usage is wanted   C  bytes of a piece, at
 * most   S  how it ends: 'c' cut, else properly.  Where an adapter reads frames, each line of the body is one: its name,
 * with '!' before it of an exception, a space, its data.
 *
 * Cut or whole, the same lines are made; each is JSON and short enough to be sent; and what began is never begun again. */
#include "fuzz.h"
#include "providers/stream.h"

typedef struct told {
    pst_buf_t out;
    pst_arena_t arena;
    pst_json_t tape;
    pst_reading_t reading;
} told_t;

static void tell(const pst_provider_t *p, const pst_task_t *like, pst_view_t bytes, size_t most, bool cut, told_t *ret)
{
    pst_stream_t s;
    pst_http_answer_t head = {.status = 200, .wall_ms = 1700000000000};
    pst_http_answer_t lost = {.transport = PST_CAUSE_CONNECTION, .wall_ms = 1700000000000};
    pst_stream_state_t state = PST_STREAM_MORE;
    pst_task_t task = *like;
    memset(ret, 0, sizeof *ret);
    pst_buf_init(&ret->out, 0);
    pst_arena_init(&ret->arena, 0);
    pst_json_init(&ret->tape);
    task.tape = &ret->tape;
    pst_stream_init(&s);
    pst_stream_begin(&s, p, &task);
    for (size_t at = 0; at < bytes.n && state != PST_STREAM_FAILED; at += most)
        state = pst_stream_feed(&s, &head, pst_view(bytes.p + at, PST_MIN(most, bytes.n - at)), &ret->arena, &ret->out,
                                &ret->reading);
    if (state != PST_STREAM_FAILED)
        pst_stream_end(&s, cut ? &lost : &head, &ret->arena, &ret->out, &ret->reading);
    PST_ASSERT(ret->reading.verdict != PST_VERDICT_DONE || s.lines > 0);
    pst_stream_release(&s);
}

static void check_lines(const told_t *t)
{
    pst_json_t j;
    pst_json_init(&j);
    for (size_t at = 0; at < t->out.n;) {
        const char *feed = memchr(t->out.p + at, '\n', t->out.n - at);
        PST_ASSERT(feed);
        size_t n = (size_t)(feed - t->out.p) - at;
        PST_ASSERT(n < PST_PIECE_BYTES_MAX);
        PST_ASSERT(pst_json_parse(&j, pst_view(t->out.p + at, n), NULL) == PST_OK);
        at += n + 1;
    }
    pst_json_release(&j);
}

static void check_reading(const told_t *t)
{
    const pst_reading_t *r = &t->reading;
    PST_ASSERT(r->verdict >= PST_VERDICT_DONE && r->verdict <= PST_VERDICT_PARK);
    PST_ASSERT((r->cause == PST_CAUSE_NONE) == (r->verdict == PST_VERDICT_DONE));
    PST_ASSERT(t->out.n == 0 || r->verdict == PST_VERDICT_DONE || r->verdict == PST_VERDICT_FINAL);
    PST_ASSERT(r->usage_known || r->input_tokens + r->output_tokens == 0);
}

static void told_release(told_t *t)
{
    pst_buf_release(&t->out);
    pst_arena_release(&t->arena);
    pst_json_release(&t->tape);
}

static void put_u32(pst_buf_t *b, size_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        pst_buf_putc(b, (char)(n >> shift));
}

static void put_header(pst_buf_t *b, const char *name, pst_view_t value)
{
    pst_buf_putc(b, (char)strlen(name));
    pst_buf_puts(b, name);
    pst_buf_putc(b, 7);
    pst_buf_putc(b, (char)(value.n >> 8));
    pst_buf_putc(b, (char)value.n);
    pst_buf_putv(b, value);
}

static void put_frame(pst_buf_t *b, pst_view_t line)
{
    pst_buf_t head;
    const char *space = line.n ? memchr(line.p, ' ', line.n) : NULL;
    size_t n = space ? (size_t)(space - line.p) : line.n, from = b->n;
    bool failure = n && line.p[0] == '!';
    pst_view_t name = pst_view(line.p + failure, PST_MIN(n - failure, (size_t)UINT16_MAX));
    pst_view_t data = pst_view(line.p + n + (space != NULL), line.n - n - (space != NULL));
    pst_buf_init(&head, 0);
    put_header(&head, failure ? ":exception-type" : ":event-type", name);
    put_header(&head, ":message-type", failure ? PST_VIEW_LIT("exception") : PST_VIEW_LIT("event"));
    put_u32(b, 16 + head.n + data.n);
    put_u32(b, head.n);
    put_u32(b, pst_frames_crc(b->p + from, 8));
    pst_buf_putv(b, pst_buf_view(&head));
    pst_buf_putv(b, data);
    put_u32(b, pst_frames_crc(b->p + from, b->n - from));
    pst_buf_release(&head);
}

static void put_frames(pst_buf_t *b, pst_view_t body)
{
    while (body.n) {
        const char *feed = memchr(body.p, '\n', body.n);
        size_t n = feed ? (size_t)(feed - body.p) : body.n;
        put_frame(b, pst_view(body.p, n));
        n += feed != NULL;
        body = pst_view(body.p + n, body.n - n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const pst_provider_t *p = size > 4 ? pst_provider_at((unsigned)(text[0] & 7)) : NULL;
    if (!p || !p->streaming)
        return 0;
    pst_task_t task = {
        .url = (pst_url_t)(text[1] & 3),
        .endpoint = {.model = PST_VIEW_LIT("some/model")},
        .random = 7,
        .wall_s = 1700000000,
        .live = true,
        .stream = true,
        .usage_wanted = text[1] & 4,
    };
    if (!pst_provider_streams(p, &task))
        return 0;
    pst_buf_t bytes;
    told_t whole, cut;
    pst_buf_init(&bytes, 0);
    if (p->streaming->frames)
        put_frames(&bytes, pst_view(text + 4, size - 4));
    else
        pst_buf_put(&bytes, text + 4, size - 4);
    tell(p, &task, pst_buf_view(&bytes), PST_MAX(bytes.n, (size_t)1), text[3] == 'c', &whole);
    tell(p, &task, pst_buf_view(&bytes), 1 + (data[2] & 63), text[3] == 'c', &cut);
    check_lines(&whole);
    check_reading(&whole);
    PST_ASSERT(pst_view_eq(pst_buf_view(&whole.out), pst_buf_view(&cut.out)));
    PST_ASSERT(whole.reading.verdict == cut.reading.verdict && whole.reading.cause == cut.reading.cause);
    told_release(&whole);
    told_release(&cut);
    pst_buf_release(&bytes);
    return 0;
}
