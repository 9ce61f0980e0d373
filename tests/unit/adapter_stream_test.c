#include "unit.h"

#include "providers/stream.h"

/* ---- server-sent events ---- */

/* "name|data;" of each event, with the text in pieces of `most` bytes. */
static void events_of(const char *text, size_t n, size_t most, bool end, pst_buf_t *ret)
{
    pst_sse_t s;
    pst_view_t name, data;
    pst_sse_state_t state = PST_SSE_MORE;
    pst_sse_init(&s);
    pst_buf_init(ret, 0);
    for (size_t at = 0; at < n; at += most) {
        pst_view_t bytes = pst_view(text + at, PST_MIN(most, n - at));
        while ((state = pst_sse_next(&s, &bytes, &name, &data)) == PST_SSE_EVENT)
            pst_buf_printf(ret, "%.*s|%.*s;", (int)name.n, name.p ? name.p : "", (int)data.n, data.p ? data.p : "");
        assert_int_equal(bytes.n, 0);
    }
    assert_int_equal(state, PST_SSE_MORE);
    while (end && pst_sse_end(&s, &name, &data) == PST_SSE_EVENT)
        pst_buf_printf(ret, "%.*s|%.*s;", (int)name.n, name.p ? name.p : "", (int)data.n, data.p ? data.p : "");
    pst_sse_release(&s);
}

static void check_events(const char *text, bool end, const char *want)
{
    size_t n = strlen(text);
    for (size_t most = 1; most <= n + 1; most++) {
        pst_buf_t got;
        events_of(text, n, most, end, &got);
        pst_buf_putc(&got, '\0');
        assert_string_equal(got.p, want);
        pst_buf_release(&got);
    }
}

static void lines_end_in_any_way(void **state)
{
    (void)state;
    check_events("data: a\n\ndata: b\n\n", false, "|a;|b;");
    check_events("data: a\r\n\r\ndata: b\r\n\r\n", false, "|a;|b;");
    check_events("data: a\r\rdata: b\r\r", false, "|a;|b;");
    check_events("data: a\r\n\ndata: b\n\r", false, "|a;|b;");
    check_events("data: a\n\n\n\n\r\ndata: b\n\n", false, "|a;|b;");
}

static void fields_are_taken_apart(void **state)
{
    (void)state;
    check_events("event: x\ndata: a\n\ndata: b\n\n", false, "x|a;|b;");
    check_events("event:x\nevent: y\ndata:a\ndata:  b\ndata\ndata: c\n\n", false, "y|a\n b\n\nc;");
    check_events("id: 7\nretry: 10\nfield\n: comment\n:\ndata: {\"a\": \"b:c\"}\n\n", false, "|{\"a\": \"b:c\"};");
    check_events("\xef\xbb\xbf" "data: a\n\n\xef\xbb\xbf" "data: b\n\n", false, "|a;");
}

static void an_event_without_data_is_none(void **state)
{
    (void)state;
    check_events("event: x\n\ndata: a\n\n", false, "|a;");
    check_events(": only\n\n: comments\n\n", true, "");
    check_events("data\n\n", false, "|;");
    check_events("Data: a\n\ndatax: a\n\n", true, "");
}

static void the_last_empty_line_may_be_missing(void **state)
{
    (void)state;
    check_events("data: a\n\ndata: b", false, "|a;");
    check_events("data: a\n\ndata: b", true, "|a;|b;");
    check_events("data: a\n\nevent: z\ndata: b\n", true, "|a;z|b;");
    check_events("data: a\n\nevent: z", true, "|a;");
    check_events("data: a\r\n\r", true, "|a;");
}

static pst_sse_state_t feed_much(size_t line, size_t lines)
{
    pst_sse_t s;
    pst_view_t name, data;
    pst_sse_state_t state = PST_SSE_MORE;
    char *text = malloc(line + 7);
    memset(text, 'a', line + 7);
    memcpy(text, "data: ", 6);
    text[line + 6] = '\n';
    pst_sse_init(&s);
    for (size_t i = 0; i < lines && state == PST_SSE_MORE; i++) {
        pst_view_t bytes = pst_view(text, line + 7);
        state = pst_sse_next(&s, &bytes, &name, &data);
    }
    if (state == PST_SSE_MORE) {
        pst_view_t bytes = PST_VIEW_LIT("\n");
        state = pst_sse_next(&s, &bytes, &name, &data);
    }
    pst_sse_release(&s);
    free(text);
    return state;
}

static void an_event_has_a_bound(void **state)
{
    (void)state;
    assert_int_equal(feed_much(PST_SSE_EVENT_BYTES_MAX, 1), PST_SSE_EVENT);
    assert_int_equal(feed_much(PST_SSE_EVENT_BYTES_MAX + 1, 1), PST_SSE_TOO_LARGE);
    assert_int_equal(feed_much(1023, PST_SSE_EVENT_BYTES_MAX / 1024), PST_SSE_EVENT);
    assert_int_equal(feed_much(1023, PST_SSE_EVENT_BYTES_MAX / 1024 + 2), PST_SSE_TOO_LARGE);
}

static void a_line_that_never_ends_has_a_bound(void **state)
{
    (void)state;
    pst_sse_t s;
    pst_view_t name, data;
    char text[4096];
    size_t fed = 0;
    pst_sse_state_t got = PST_SSE_MORE;
    memset(text, 'a', sizeof text);
    pst_sse_init(&s);
    for (; got == PST_SSE_MORE; fed += sizeof text) {
        pst_view_t bytes = pst_view(text, sizeof text);
        got = pst_sse_next(&s, &bytes, &name, &data);
        assert_true(fed <= PST_SSE_EVENT_BYTES_MAX + sizeof text);
    }
    assert_int_equal(got, PST_SSE_TOO_LARGE);
    pst_sse_release(&s);
}

/* ---- frames ---- */

static void the_sum_is_that_of_everybody(void **state)
{
    (void)state;
    assert_int_equal(pst_frames_crc("", 0), 0);
    assert_int_equal(pst_frames_crc("123456789", 9), 0xcbf43926);
}

/* The empty message of AWS's own tests. */
static const unsigned char empty_frame[] = {0, 0, 0, 16, 0, 0, 0, 0, 0x05, 0xc2, 0x48, 0xeb, 0x7d, 0x98, 0xc8, 0xff};

static pst_frames_state_t read_frame(const void *p, size_t n, pst_frame_t *ret)
{
    pst_frames_t f;
    pst_frames_state_t state = PST_FRAMES_MORE;
    pst_frames_init(&f);
    for (size_t i = 0; i < n && state == PST_FRAMES_MORE; i++) {
        pst_view_t bytes = pst_view((const char *)p + i, 1);
        state = pst_frames_next(&f, &bytes, ret);
        assert_int_equal(bytes.n, 0);
        assert_int_equal(pst_frames_whole(&f), state == PST_FRAMES_ONE);
    }
    pst_frames_release(&f);
    return state;
}

static void a_frame_is_read_byte_by_byte(void **state)
{
    (void)state;
    pst_frame_t frame;
    assert_int_equal(read_frame(empty_frame, sizeof empty_frame, &frame), PST_FRAMES_ONE);
    assert_int_equal(frame.name.n, 0);
    assert_int_equal(frame.payload.n, 0);
    assert_false(frame.failure);
    assert_int_equal(read_frame(empty_frame, sizeof empty_frame - 1, &frame), PST_FRAMES_MORE);
}

static void a_wrong_sum_breaks_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof empty_frame; i++) {
        unsigned char bytes[sizeof empty_frame];
        pst_frame_t frame;
        memcpy(bytes, empty_frame, sizeof bytes);
        bytes[i] ^= 1;
        assert_int_equal(read_frame(bytes, sizeof bytes, &frame), PST_FRAMES_BROKEN);
    }
}

static void put_u32(pst_buf_t *b, uint32_t n)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        pst_buf_putc(b, (char)(n >> shift));
}

/* With headers as they are given, and sums that are right. */
static pst_frames_state_t with_headers(const char *headers, size_t n, pst_frame_t *ret)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_u32(&b, (uint32_t)(12 + n + 2 + 4));
    put_u32(&b, (uint32_t)n);
    put_u32(&b, pst_frames_crc(b.p, 8));
    pst_buf_put(&b, headers, n);
    pst_buf_puts(&b, "{}");
    put_u32(&b, pst_frames_crc(b.p, b.n));
    pst_frames_state_t state = read_frame(b.p, b.n, ret);
    pst_buf_release(&b);
    return state;
}

static void headers_of_all_types_are_passed_over(void **state)
{
    (void)state;
    static const char all[] = "\1a\0" "\1b\1" "\1c\2x" "\1d\3xx" "\1e\4xxxx" "\1f\5xxxxxxxx" "\1g\6\0\2xx" "\1h\7\0\0"
                              "\1i\10xxxxxxxx" "\1j\11xxxxxxxxxxxxxxxx" "\15:message-type\7\0\5event";
    pst_frame_t frame;
    assert_int_equal(with_headers(all, sizeof all - 1, &frame), PST_FRAMES_ONE);
    assert_int_equal(frame.payload.n, 2);
    for (size_t n = 0; n < sizeof all - 1; n++) /* cut anywhere it is a frame or broken, and nothing is read behind it */
        assert_int_not_equal(with_headers(all, n, &frame), PST_FRAMES_MORE);
    assert_int_equal(with_headers("\1a\12", 3, &frame), PST_FRAMES_BROKEN);
    assert_int_equal(with_headers("\1a\7\0\1", 5, &frame), PST_FRAMES_BROKEN);
    assert_int_equal(with_headers("\5a", 2, &frame), PST_FRAMES_BROKEN);
}

static void a_frame_has_a_bound(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_frame_t frame;
    pst_buf_init(&b, 0);
    put_u32(&b, (uint32_t)PST_FRAMES_BYTES_MAX + 1);
    put_u32(&b, 0);
    put_u32(&b, pst_frames_crc(b.p, 8));
    assert_int_equal(read_frame(b.p, b.n, &frame), PST_FRAMES_BROKEN);
    pst_buf_release(&b);
}

/* ---- whole answers ---- */

typedef struct told {
    pst_stream_t stream;
    pst_json_t tape;
    pst_arena_t arena;
    pst_task_t task;
    pst_buf_t out;
    pst_reading_t reading;
} told_t;

static void tell(told_t *t, pst_view_t body)
{
    pst_http_answer_t answer = {.status = 200};
    memset(t, 0, sizeof *t);
    pst_arena_init(&t->arena, 0);
    pst_buf_init(&t->out, 0);
    pst_stream_init(&t->stream);
    t->task = (pst_task_t){.tape = &t->tape, .endpoint = {.model = PST_VIEW_LIT("m")}, .live = true};
    t->reading = (pst_reading_t){.verdict = PST_VERDICT_DONE, .status = 200, .body = body};
    pst_stream_begin(&t->stream, pst_provider_find(PST_VIEW_LIT("openai")), &t->task);
    pst_stream_whole(&t->stream, &answer, &t->arena, &t->out, &t->reading);
}

static void told_release(told_t *t)
{
    pst_stream_release(&t->stream);
    pst_buf_release(&t->out);
    pst_json_release(&t->tape);
    pst_arena_release(&t->arena);
}

static const char before[] = "{\"choices\":[{\"message\":{\"content\":\"";

static void put_body(pst_buf_t *b, const char *unit, size_t units)
{
    pst_buf_init(b, 0);
    pst_buf_puts(b, before);
    for (size_t i = 0; i < units; i++)
        pst_buf_puts(b, unit);
    pst_buf_puts(b, "\"}}]}");
}

/* A long text is cut between its characters, of which an escape is one, and a pair of them too. */
static void a_long_text_is_told_in_parts(void **state)
{
    (void)state;
    static const char *const units[] = {"a", "\xc3\xa4", "\xf0\x9f\x98\x80", "\\n", "\\u00e4", "\\ud83d\\ude00"};
    for (size_t i = 0; i < PST_COUNT(units); i++) {
        pst_buf_t body, joined;
        told_t t;
        size_t unit = strlen(units[i]), units_n = (size_t)300000 / unit;
        put_body(&body, units[i], units_n);
        pst_buf_init(&joined, 0);
        tell(&t, pst_buf_view(&body));
        assert_int_equal(t.reading.verdict, PST_VERDICT_DONE);
        assert_true(t.stream.lines > 4);
        pst_view_t left = pst_buf_view(&t.out);
        while (left.n) {
            size_t n = (size_t)((char *)memchr(left.p, '\n', left.n) - left.p);
            assert_true(n < (size_t)80 << 10);
            assert_int_equal(pst_json_parse(&t.tape, pst_view(left.p, n), NULL), PST_OK);
            uint32_t delta = pst_json_get(&t.tape, pst_json_first(&t.tape, pst_json_get(&t.tape, 0, "choices")), "delta");
            pst_view_t text = pst_json_raw(&t.tape, pst_json_get(&t.tape, delta, "content"));
            if (text.n) {
                assert_int_equal((text.n - 2) % unit, 0);
                pst_buf_put(&joined, text.p + 1, text.n - 2);
            }
            left = pst_view(left.p + n + 1, left.n - n - 1);
        }
        assert_int_equal(joined.n, units_n * unit);
        assert_memory_equal(joined.p, body.p + sizeof before - 1, joined.n);
        told_release(&t);
        pst_buf_release(&joined);
        pst_buf_release(&body);
    }
}

/* What cannot be cut and is too long for a piece. */
static void what_is_too_long_for_a_line_is_not_told(void **state)
{
    (void)state;
    pst_buf_t body;
    told_t t;
    pst_buf_init(&body, 0);
    pst_buf_puts(&body, "{\"choices\":[{\"message\":{\"content\":\"a\",\"images\":[\"");
    for (size_t i = 0; i < PST_PIECE_BYTES_MAX; i++)
        pst_buf_putc(&body, 'a');
    pst_buf_puts(&body, "\"]}}]}");
    tell(&t, pst_buf_view(&body));
    assert_int_equal(t.reading.verdict, PST_VERDICT_FINAL);
    assert_int_equal(t.reading.cause, PST_CAUSE_PAYLOAD_TOO_LARGE);
    assert_int_equal(t.out.n, 0);
    told_release(&t);
    pst_buf_release(&body);
}

static void an_event_too_long_ends_the_stream(void **state)
{
    (void)state;
    told_t t;
    pst_buf_t event;
    pst_http_answer_t head = {.status = 200};
    memset(&t, 0, sizeof t);
    pst_buf_init(&event, 0);
    pst_arena_init(&t.arena, 0);
    pst_buf_init(&t.out, 0);
    pst_stream_init(&t.stream);
    t.task = (pst_task_t){.tape = &t.tape, .live = true, .stream = true};
    pst_stream_begin(&t.stream, pst_provider_find(PST_VIEW_LIT("openai")), &t.task);
    pst_buf_puts(&event, "data: {\"choices\":[{\"index\":0}]}\n\ndata: \"");
    for (size_t i = 0; i < PST_SSE_EVENT_BYTES_MAX; i++)
        pst_buf_putc(&event, 'a');
    pst_buf_puts(&event, "\"\n\n");
    assert_int_equal(pst_stream_feed(&t.stream, &head, pst_buf_view(&event), &t.arena, &t.out, &t.reading),
                     PST_STREAM_FAILED);
    assert_int_equal(t.reading.verdict, PST_VERDICT_FINAL);
    assert_int_equal(t.reading.cause, PST_CAUSE_PAYLOAD_TOO_LARGE);
    assert_int_equal(t.stream.lines, 1);
    told_release(&t);
    pst_buf_release(&event);
}

/* ---- which answers are streams ---- */

static void an_answer_is_a_stream_unless_it_is_json(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *type;
        bool stream;
    } cases[] = {
        {200, "text/event-stream", true},  {200, "text/event-stream; charset=utf-8", true}, {200, NULL, true},
        {200, "application/json", false},  {200, "Application/JSON; charset=utf-8", false}, {200, "text/html", true},
        {400, "text/event-stream", false}, {503, NULL, false},
        {200, "application/vnd.amazon.eventstream", true},
    };
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        pst_http_header_t type = {PST_VIEW_LIT("content-type"), pst_view_str(cases[i].type)};
        pst_http_answer_t head = {.status = cases[i].status, .header = &type, .headers = cases[i].type != NULL};
        assert_int_equal(pst_stream_is(&head), cases[i].stream);
    }
}

static void its_headers_tell_of_limits(void **state)
{
    (void)state;
    static const pst_http_header_t header[] = {
        {PST_VIEW_LIT("x-ratelimit-limit-tokens-minute"), PST_VIEW_LIT("60000")}};
    pst_json_t tape;
    pst_json_init(&tape);
    pst_task_t task = {.tape = &tape, .live = true, .stream = true};
    for (unsigned i = 0; pst_provider_at(i); i++) {
        pst_http_answer_t head = {.status = 200, .header = header, .headers = 1};
        pst_stream_t s;
        pst_arena_t a;
        pst_buf_t out;
        pst_reading_t r;
        if (!pst_provider_streams(pst_provider_at(i), &task))
            continue;
        pst_arena_init(&a, 0);
        pst_buf_init(&out, 0);
        pst_stream_init(&s);
        pst_stream_begin(&s, pst_provider_at(i), &task);
        pst_stream_end(&s, &head, &a, &out, &r);
        assert_int_equal(r.limits_n, 1);
        assert_int_equal(r.limits[0].limit, 60000);
        pst_stream_release(&s);
        pst_buf_release(&out);
        pst_arena_release(&a);
    }
    pst_json_release(&tape);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(lines_end_in_any_way),
    cmocka_unit_test(fields_are_taken_apart),
    cmocka_unit_test(an_event_without_data_is_none),
    cmocka_unit_test(the_last_empty_line_may_be_missing),
    cmocka_unit_test(an_event_has_a_bound),
    cmocka_unit_test(a_line_that_never_ends_has_a_bound),
    cmocka_unit_test(the_sum_is_that_of_everybody),
    cmocka_unit_test(a_frame_is_read_byte_by_byte),
    cmocka_unit_test(a_wrong_sum_breaks_it),
    cmocka_unit_test(headers_of_all_types_are_passed_over),
    cmocka_unit_test(a_frame_has_a_bound),
    cmocka_unit_test(a_long_text_is_told_in_parts),
    cmocka_unit_test(what_is_too_long_for_a_line_is_not_told),
    cmocka_unit_test(an_event_too_long_ends_the_stream),
    cmocka_unit_test(an_answer_is_a_stream_unless_it_is_json),
    cmocka_unit_test(its_headers_tell_of_limits),
};

UNIT_MAIN(tests)
