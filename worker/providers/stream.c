#include "providers/stream.h"

#include "providers/common.h"
#include "providers/failure.h"
#include "providers/limits.h"

void pst_stream_init(pst_stream_t *s)
{
    memset(s, 0, sizeof *s);
    pst_sse_init(&s->sse);
    pst_frames_init(&s->frames);
    pst_buf_init(&s->head, 0);
}

void pst_stream_release(pst_stream_t *s)
{
    pst_sse_release(&s->sse);
    pst_frames_release(&s->frames);
    pst_buf_release(&s->head);
}

void pst_stream_begin(pst_stream_t *s, const pst_provider_t *provider, const pst_task_t *task)
{
    s->provider = provider;
    s->task = task;
}

/* Hosts that know no streams answer as if none had been asked for; some streams have no type, or a wrong one. */
bool pst_stream_is(const pst_http_answer_t *head)
{
    return pst_answer_ok(head) && !pst_text_has(pst_answer_header(head, "content-type"), "application/json", NULL);
}

/* ---- ends ---- */

/* What there was lines of is over for good, and no limit that it met is waited for. */
static void conclude(const pst_stream_t *s, const pst_http_answer_t *head, pst_arena_t *a, pst_reading_t *ret)
{
    if (head->status)
        pst_limits_read(head, a, ret);
    pst_reading_set_usage(ret, &s->usage);
    if (s->lines == 0 || ret->verdict == PST_VERDICT_DONE)
        return;
    ret->verdict = PST_VERDICT_FINAL;
    ret->wait_ms = 0;
    ret->whole_provider = false;
}

pst_stream_state_t pst_stream_failed(const pst_stream_event_t *e, uint32_t error, pst_reading_t *ret)
{
    pst_failure_t f;
    pst_failure_find(e->json, error, e->head->status, e->arena, &f);
    pst_failure_report(&f, e->head, e->arena, ret);
    return PST_STREAM_FAILED;
}

pst_stream_state_t pst_stream_bad(const pst_stream_event_t *e, const char *why, pst_reading_t *ret)
{
    pst_failure_bad_answer(e->head, why, e->arena, ret);
    return PST_STREAM_FAILED;
}

/* Shown as what is larger than an answer may be. */
static pst_stream_state_t too_large(pst_reading_t *ret)
{
    pst_http_answer_t over = {.transport = PST_CAUSE_PAYLOAD_TOO_LARGE};
    pst_failure_transport(&over, ret);
    return PST_STREAM_FAILED;
}

static void done(pst_stream_t *s, const pst_http_answer_t *answer, pst_buf_t *out, pst_reading_t *ret)
{
    if (s->task->usage_wanted && s->usage.known && s->head.n)
        pst_chunk_usage(s, out);
    pst_reading_done_with(ret, answer, pst_view(NULL, 0), !out->failed);
}

/* ---- events ---- */

static bool line_fits(pst_view_t text)
{
    while (text.n > PST_PIECE_BYTES_MAX) {
        const char *feed = memchr(text.p, '\n', PST_PIECE_BYTES_MAX);
        if (!feed)
            return false;
        size_t n = (size_t)(feed + 1 - text.p);
        text = pst_view(text.p + n, text.n - n);
    }
    return true;
}

bool pst_stream_fits(pst_buf_t *out, size_t from)
{
    if (!out->failed && (out->n == from || line_fits(pst_view(out->p + from, out->n - from))))
        return true;
    out->n = from;
    return false;
}

static pst_stream_state_t on_event(pst_stream_t *s, pst_stream_event_t *e, pst_view_t data, pst_reading_t *ret)
{
    const pst_streaming_t *how = s->provider->streaming;
    uint64_t lines = s->lines;
    size_t from = e->out->n;
    if (!how->frames && pst_view_eqs(data, "[DONE]"))
        return how->done || s->whole ? PST_STREAM_OVER : PST_STREAM_MORE;
    if (e->failure && data.n == 0) /* AWS's errors, other than exceptions, have headers alone */
        data = PST_VIEW_LIT("{}");
    if (pst_json_parse(s->task->tape, data, NULL))
        return pst_stream_bad(e, "an event of the answer is not JSON", ret);
    e->json = s->task->tape;
    pst_stream_state_t state = how->event(s, e, ret);
    if (pst_stream_fits(e->out, from))
        return state;
    s->lines = lines;
    return too_large(ret);
}

/* Takes what it can of the bytes for the next event; false: there is none yet, or *ret_state. */
static bool next_event(pst_stream_t *s, pst_stream_event_t *e, pst_view_t *bytes, pst_view_t *ret_data,
                       pst_stream_state_t *ret_state, pst_reading_t *ret)
{
    *ret_state = PST_STREAM_MORE;
    if (s->provider->streaming->frames) {
        pst_frame_t f;
        pst_frames_state_t state = pst_frames_next(&s->frames, bytes, &f);
        if (state == PST_FRAMES_BROKEN)
            *ret_state = pst_stream_bad(e, "the answer's event stream is broken", ret);
        if (state != PST_FRAMES_ONE)
            return false;
        e->name = f.name;
        e->failure = f.failure;
        *ret_data = f.payload;
        return true;
    }
    pst_sse_state_t state = pst_sse_next(&s->sse, bytes, &e->name, ret_data);
    if (state == PST_SSE_TOO_LARGE)
        *ret_state = too_large(ret);
    return state == PST_SSE_EVENT;
}

pst_stream_state_t pst_stream_feed(pst_stream_t *s, const pst_http_answer_t *head, pst_view_t bytes, pst_arena_t *a,
                                   pst_buf_t *out, pst_reading_t *ret)
{
    pst_stream_event_t e = {.head = head, .arena = a, .out = out};
    pst_stream_state_t state = PST_STREAM_MORE;
    pst_view_t data;
    pst_reading_init(ret);
    while (!s->over && state == PST_STREAM_MORE && next_event(s, &e, &bytes, &data, &state, ret)) {
        state = on_event(s, &e, data, ret);
        s->over = state == PST_STREAM_OVER;
    }
    if (state == PST_STREAM_FAILED)
        conclude(s, head, a, ret);
    return s->over ? PST_STREAM_OVER : state;
}

/* The last event's empty line may be missing. */
static pst_stream_state_t take_last(pst_stream_t *s, pst_stream_event_t *e, pst_reading_t *ret)
{
    pst_view_t data;
    pst_stream_state_t state = PST_STREAM_MORE;
    if (!s->over && !s->provider->streaming->frames && pst_sse_end(&s->sse, &e->name, &data) == PST_SSE_EVENT)
        state = on_event(s, e, data, ret);
    s->over = s->over || state == PST_STREAM_OVER;
    return state;
}

static void close_stream(pst_stream_t *s, pst_stream_event_t *e, pst_reading_t *ret)
{
    if (take_last(s, e, ret) == PST_STREAM_FAILED)
        return;
    if (!s->over && !(s->whole && pst_frames_whole(&s->frames)))
        pst_stream_bad(e, "the stream ended before the answer did", ret);
    else if (s->lines == 0)
        pst_stream_bad(e, "the answer is blank", ret);
    else
        done(s, e->head, e->out, ret);
}

void pst_stream_end(pst_stream_t *s, const pst_http_answer_t *answer, pst_arena_t *a, pst_buf_t *out, pst_reading_t *ret)
{
    pst_stream_event_t e = {.head = answer, .arena = a, .out = out};
    pst_reading_init(ret);
    if (answer->status)
        close_stream(s, &e, ret);
    else
        pst_failure_transport(answer, ret);
    conclude(s, answer, a, ret);
}
