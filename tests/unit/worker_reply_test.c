#include "unit.h"

#include <zlib.h>

#include "http/unpack.h"
#include "penstock/limits.h"

typedef struct want {
    const char *text;
    bool eof;                /* the connection ends behind it */
    pst_reply_state_t state;
    int status;
    const char *body;
    bool keeps;
} want_t;

/* Puts text in, `step` bytes at a time; what the last of them came to. */
static pst_reply_state_t feed(pst_reply_t *r, const char *text, size_t n, size_t step)
{
    pst_reply_state_t s = PST_REPLY_MORE;
    while (n && s == PST_REPLY_MORE) {
        size_t room, part = PST_MIN(n, step);
        char *to = pst_reply_room(r, &room);
        assert_non_null(to);
        part = PST_MIN(part, room);
        memcpy(to, text, part);
        s = pst_reply_came(r, part);
        text += part;
        n -= part;
    }
    return s;
}

static void assert_body(const pst_reply_t *r, const char *body)
{
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t a = {0};
    pst_reply_fill(r, header, &a);
    assert_int_equal(a.body.n, strlen(body));
    assert_memory_equal(a.body.p, body, a.body.n);
}

/* Whole, byte by byte, and in between: it must not matter. */
static void check(const want_t *w)
{
    static const size_t steps[] = {SIZE_MAX, 1, 2, 7};
    pst_reply_t r;
    pst_reply_init(&r);
    for (size_t i = 0; i < PST_COUNT(steps); i++) {
        pst_reply_clear(&r);
        pst_reply_state_t s = feed(&r, w->text, strlen(w->text), steps[i]);
        if (w->eof && s == PST_REPLY_MORE)
            s = pst_reply_eof(&r);
        if (s != w->state)
            fail_msg("state %d, not %d, of %s", s, w->state, w->text);
        if (s != PST_REPLY_DONE)
            continue;
        assert_int_equal(r.status, w->status);
        assert_body(&r, w->body);
        /* Fed in parts, what stands behind an answer has not come yet. */
        if (steps[i] == SIZE_MAX)
            assert_int_equal(r.keeps, w->keeps);
    }
    pst_reply_release(&r);
}

#define OK "HTTP/1.1 200 OK\r\n"

static void answers_are_framed(void **state)
{
    (void)state;
    static const want_t wants[] = {
        {OK "Content-Length: 5\r\n\r\nhello", false, PST_REPLY_DONE, 200, "hello", true},
        {OK "content-length:0\r\n\r\n", false, PST_REPLY_DONE, 200, "", true},
        {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false, PST_REPLY_DONE, 200, "hello", true},
        {"HTTP/1.1 429\r\nContent-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 429, "{}", true},
        {"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}", false, PST_REPLY_DONE, 200, "{}", true},
        {OK "Transfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n1;a=b\r\n!\r\n00\r\nx: y\r\n\r\n", false, PST_REPLY_DONE, 200,
         "hello!", true},
        {OK "Transfer-Encoding: chunked\r\n\r\nA \r\n0123456789\r\n0\r\n\r\n", false, PST_REPLY_DONE, 200, "0123456789",
         true},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" OK
         "Content-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 200, "{}", true},
        {"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", false, PST_REPLY_DONE, 204, "", true},
        {"HTTP/1.1 304 Not Modified\r\n\r\n", false, PST_REPLY_DONE, 304, "", true},
    };
    for (size_t i = 0; i < PST_COUNT(wants); i++)
        check(&wants[i]);
}

static void a_connection_is_kept_only_where_all_is_clear(void **state)
{
    (void)state;
    static const want_t wants[] = {
        {OK "Connection: close\r\nContent-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 200, "{}", false},
        {OK "Connection: x, Close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 200,
         "{}", false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 200, "{}", false},
        {"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\n{}", false, PST_REPLY_DONE, 200, "{}",
         true},
        {OK "Content-Length: 2\r\n\r\n{}HTTP/1.1", false, PST_REPLY_DONE, 200, "{}", false},
        {OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nx", false, PST_REPLY_DONE, 200, "{}", false},
        {OK "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false, PST_REPLY_DONE, 200,
         "{}", false},
        {OK "\r\nuntil the end", true, PST_REPLY_DONE, 200, "until the end", false},
        {OK "\r\n", true, PST_REPLY_DONE, 200, "", false},
    };
    for (size_t i = 0; i < PST_COUNT(wants); i++)
        check(&wants[i]);
}

static void what_breaks_off_is_broken(void **state)
{
    (void)state;
    static const want_t wants[] = {
        {"", true, PST_REPLY_BROKEN, 0, "", false},
        {"HTTP/1.1 200", true, PST_REPLY_BROKEN, 0, "", false},
        {OK "Content-Le", true, PST_REPLY_BROKEN, 0, "", false},
        {OK "Content-Length: 5\r\n\r\nhell", true, PST_REPLY_BROKEN, 0, "", false},
        {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true, PST_REPLY_BROKEN, 0, "", false},
        {OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", true, PST_REPLY_BROKEN, 0, "", false},
        {"HTTP/1.1 100 Continue\r\n\r\n", true, PST_REPLY_BROKEN, 0, "", false},
    };
    for (size_t i = 0; i < PST_COUNT(wants); i++)
        check(&wants[i]);
}

static void what_is_not_understood_is_broken(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "SSH-2.0-OpenSSH_9.2p1\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 200OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n", "HTTP/1.1 099 What\r\n\r\n", " HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n", "\r\n" OK,
        OK "no colon\r\n\r\n", OK ": no name\r\n\r\n", OK "Name : blank\r\n\r\n", OK "A: b\r\n folded\r\n\r\n",
        OK "Content-Length: -1\r\n\r\n", OK "Content-Length: 1x\r\n\r\n", OK "Content-Length: \r\n\r\n",
        OK "Content-Length: 1, 1\r\n\r\n", OK "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK "Content-Length: 9999999999999999\r\n\r\n",
        OK "Transfer-Encoding: gzip, chunked\r\n\r\n", OK "Transfer-Encoding: identity\r\n\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n\r\n", OK "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n-5\r\n", OK "Transfer-Encoding: chunked\r\n\r\n1g\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n0000000000000001\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n2\r\n{}}\r\n",
    };
    for (size_t i = 0; i < PST_COUNT(texts); i++) {
        want_t w = {.text = texts[i], .state = PST_REPLY_BROKEN};
        check(&w);
    }
}

static void headers_are_lower_case_and_trimmed(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 100 Continue\r\nX-Old: 1\r\n\r\n" OK
                               "X-Request-ID: \t Abc Def \t\r\nEmpty:\r\nContent-Encoding: br\r\nContent-Length: 0\r\n\r\n";
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t a = {0};
    pst_reply_t r;
    pst_reply_init(&r);
    assert_int_equal(feed(&r, text, sizeof text - 1, SIZE_MAX), PST_REPLY_DONE);
    pst_reply_fill(&r, header, &a);
    assert_int_equal(a.headers, 4);
    assert_true(pst_view_eqs(a.header[0].name, "x-request-id"));
    assert_true(pst_view_eqs(a.header[0].value, "Abc Def"));
    assert_true(pst_view_eqs(a.header[1].name, "empty"));
    assert_int_equal(a.header[1].value.n, 0);
    assert_int_equal(r.coding, PST_CODING_OTHER);
    pst_reply_clear(&r);
    static const char plain[] = OK "Content-Encoding: Identity\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(feed(&r, plain, sizeof plain - 1, SIZE_MAX), PST_REPLY_DONE);
    assert_int_equal(r.coding, PST_CODING_NONE);
    pst_reply_release(&r);
}

/* More headers than are kept: those that frame the body count all the same. */
static void headers_past_the_caps_are_left_out(void **state)
{
    (void)state;
    pst_reply_t r;
    pst_buf_t text;
    pst_reply_init(&r);
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, OK);
    for (int i = 0; i < 100; i++)
        pst_buf_printf(&text, "X-%d: %0*d\r\n", i, 300, i);
    pst_buf_puts(&text, "Content-Length: 2\r\n\r\n{}");
    assert_int_equal(feed(&r, text.p, text.n, 1000), PST_REPLY_DONE);
    assert_body(&r, "{}");
    assert_in_range(r.spans, 50, 54);
    assert_true(r.head.n <= PST_HTTP_ANSWER_HEADER_BYTES_MAX);
    pst_buf_release(&text);
    pst_reply_release(&r);
}

static pst_reply_state_t feed_for_ever(pst_reply_t *r, const char *begin, const char *again, size_t times)
{
    pst_reply_state_t s = feed(r, begin, strlen(begin), SIZE_MAX);
    for (; s == PST_REPLY_MORE && times; times--)
        s = feed(r, again, strlen(again), SIZE_MAX);
    return s;
}

static void nothing_goes_on_for_ever(void **state)
{
    (void)state;
    static const struct {
        const char *begin, *again;
    } cases[] = {
        {"", "HTTP/1.1 100 Continue\r\n\r\n"},
        {OK, "X-Long: 0123456789012345678901234567890123456789\r\n"},
        {OK "X-Long: ", "0123456789012345678901234567890123456789"},
        {OK "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X-Long: 0123456789012345678901234567890123456789\r\n"},
        {OK "Transfer-Encoding: chunked\r\n\r\n", "0123456789012345678901234567890123456789"},
    };
    pst_reply_t r;
    pst_reply_init(&r);
    for (size_t i = 0; i < PST_COUNT(cases); i++) {
        pst_reply_clear(&r);
        assert_int_equal(feed_for_ever(&r, cases[i].begin, cases[i].again, 20000), PST_REPLY_BROKEN);
        assert_true(r.in.cap < (size_t)1 << 20);
    }
    pst_reply_release(&r);
}

static void a_body_has_its_limit(void **state)
{
    (void)state;
    pst_reply_t r;
    pst_reply_init(&r);
    assert_int_equal(PST_RESULT_BODY_BYTES_MAX, 32 << 20);
    static const char by_length[] = OK "Content-Length: 33554433\r\n\r\n";
    assert_int_equal(feed(&r, by_length, sizeof by_length - 1, SIZE_MAX), PST_REPLY_TOO_LARGE);
    pst_reply_clear(&r);
    static const char one_chunk[] = OK "Transfer-Encoding: chunked\r\n\r\n2000001\r\n";
    assert_int_equal(feed(&r, one_chunk, sizeof one_chunk - 1, SIZE_MAX), PST_REPLY_TOO_LARGE);

    char *text = malloc(8 + (1 << 20) + 3);
    memcpy(text, "100000\r\n", 8);
    memset(text + 8, 'x', 1 << 20);
    memcpy(text + 8 + (1 << 20), "\r\n", 3);
    pst_reply_clear(&r);
    assert_int_equal(feed_for_ever(&r, OK "Transfer-Encoding: chunked\r\n\r\n", text, 32), PST_REPLY_MORE);
    assert_int_equal(feed(&r, "1\r\n", 3, SIZE_MAX), PST_REPLY_TOO_LARGE);

    pst_reply_clear(&r);
    assert_int_equal(feed_for_ever(&r, OK "\r\n", text, 33), PST_REPLY_TOO_LARGE);
    free(text);
    pst_reply_release(&r);
}

/* Chunks of one byte: the body comes out whole, and its lines are not counted as headers. */
static void a_body_may_come_in_many_chunks(void **state)
{
    (void)state;
    enum { CHUNKS = 200000 };
    pst_reply_t r;
    pst_buf_t text;
    pst_reply_init(&r);
    pst_buf_init(&text, 0);
    pst_buf_puts(&text, OK "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < CHUNKS; i++) {
        pst_buf_puts(&text, "1\r\n");
        pst_buf_putc(&text, (char)('a' + i % 26));
        pst_buf_puts(&text, "\r\n");
    }
    pst_buf_puts(&text, "0\r\n\r\n");
    assert_int_equal(feed(&r, text.p, text.n, 1448), PST_REPLY_DONE);
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t a = {0};
    pst_reply_fill(&r, header, &a);
    assert_int_equal(a.body.n, CHUNKS);
    for (int i = 0; i < CHUNKS; i++)
        assert_int_equal(a.body.p[i], 'a' + i % 26);
    assert_true(r.keeps);
    pst_buf_release(&text);
    pst_reply_release(&r);
}

static void what_curl_hands_on_is_kept_alike(void **state)
{
    (void)state;
    pst_reply_t r;
    pst_reply_init(&r);
    pst_reply_header(&r, PST_VIEW_LIT("HTTP/1.1 100 Continue\r\n"));
    pst_reply_header(&r, PST_VIEW_LIT("X-Old: 1\r\n"));
    pst_reply_header(&r, PST_VIEW_LIT("HTTP/2 200\r\n"));
    pst_reply_header(&r, PST_VIEW_LIT("Retry-After:  2 \r\n"));
    pst_reply_header(&r, PST_VIEW_LIT("\r\n"));
    assert_true(pst_reply_body(&r, "he", 2));
    assert_true(pst_reply_body(&r, "llo", 3));
    assert_body(&r, "hello");
    assert_int_equal(r.spans, 1);
    char *most = calloc(1, PST_RESULT_BODY_BYTES_MAX);
    assert_false(pst_reply_body(&r, most, PST_RESULT_BODY_BYTES_MAX)); /* some is there already */
    free(most);
    pst_reply_release(&r);
}

/* window: 16 more: gzip; negative: without a header. */
static void put_packed(pst_buf_t *to, const void *body, size_t n, int window)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body, .avail_in = (uInt)n};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, 0), Z_OK);
    size_t room = deflateBound(&z, n);
    z.next_out = (Bytef *)pst_buf_reserve(to, room);
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    to->n += z.total_out;
    deflateEnd(&z);
}

/* What becomes of an answer with that body; the answer in *r, to be released. */
static pst_reply_state_t unpack(pst_reply_t *r, const char *coding, const pst_buf_t *body)
{
    char head[128];
    int n = snprintf(head, sizeof head, OK "Content-Encoding: %s\r\nContent-Length: %zu\r\n\r\n", coding, body->n);
    pst_reply_init(r);
    pst_reply_state_t s = feed(r, head, (size_t)n, SIZE_MAX);
    if (body->n)
        s = feed(r, body->p, body->n, SIZE_MAX);
    assert_int_equal(s, PST_REPLY_DONE);
    return pst_reply_unpack(r);
}

static void check_unpacked(const char *coding, pst_buf_t *body, pst_reply_state_t want, const char *text)
{
    pst_reply_t r;
    assert_int_equal(unpack(&r, coding, body), want);
    if (want == PST_REPLY_DONE)
        assert_body(&r, text);
    pst_reply_release(&r);
    pst_buf_clear(body);
}

static void packed_bodies_are_unpacked(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    check_unpacked("gzip", &b, PST_REPLY_DONE, "hello");
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    check_unpacked("X-GZip", &b, PST_REPLY_DONE, "hello");
    put_packed(&b, "hel", 3, MAX_WBITS + 16);
    put_packed(&b, "lo", 2, MAX_WBITS + 16);
    check_unpacked("gzip", &b, PST_REPLY_DONE, "hello");
    put_packed(&b, "hello", 5, MAX_WBITS);
    check_unpacked("deflate", &b, PST_REPLY_DONE, "hello");
    put_packed(&b, "hello", 5, -MAX_WBITS);
    check_unpacked("deflate", &b, PST_REPLY_DONE, "hello");
    check_unpacked("gzip", &b, PST_REPLY_DONE, "");
    pst_buf_release(&b);
}

static void what_does_not_unpack_is_broken(void **state)
{
    (void)state;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    b.n--; /* cut */
    check_unpacked("gzip", &b, PST_REPLY_BROKEN, NULL);
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    pst_buf_putc(&b, '.'); /* no member */
    check_unpacked("gzip", &b, PST_REPLY_BROKEN, NULL);
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    b.p[b.n - 6] ^= 1; /* its check */
    check_unpacked("gzip", &b, PST_REPLY_BROKEN, NULL);
    put_packed(&b, "hello", 5, -MAX_WBITS);
    check_unpacked("gzip", &b, PST_REPLY_BROKEN, NULL);
    pst_buf_puts(&b, "{}");
    check_unpacked("deflate", &b, PST_REPLY_BROKEN, NULL);
    pst_buf_release(&b);
}

static void an_unpacked_body_has_its_limit(void **state)
{
    (void)state;
    size_t most = PST_RESULT_BODY_BYTES_MAX;
    char *zeros = calloc(1, most + 1);
    pst_reply_t r;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_packed(&b, zeros, most, MAX_WBITS + 16);
    assert_int_equal(unpack(&r, "gzip", &b), PST_REPLY_DONE);
    assert_int_equal(r.body_end - r.body_at, most);
    pst_reply_release(&r);
    pst_buf_clear(&b);
    put_packed(&b, zeros, most + 1, MAX_WBITS + 16);
    check_unpacked("gzip", &b, PST_REPLY_TOO_LARGE, NULL);
    pst_buf_release(&b);
    free(zeros);
}

/* As an answer in the memory of one before it, which was unpacked. */
static void an_unpacked_reply_is_used_again(void **state)
{
    (void)state;
    pst_reply_t r;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_packed(&b, "hello", 5, MAX_WBITS + 16);
    assert_int_equal(unpack(&r, "gzip", &b), PST_REPLY_DONE);
    pst_reply_clear(&r);
    static const char plain[] = OK "Content-Length: 3\r\n\r\nyes";
    assert_int_equal(feed(&r, plain, sizeof plain - 1, SIZE_MAX), PST_REPLY_DONE);
    assert_int_equal(r.coding, PST_CODING_NONE);
    assert_body(&r, "yes");
    pst_reply_release(&r);
    pst_buf_release(&b);
}

/* Two codings, in one header or in two, are curl's. */
static void several_codings_are_others(void **state)
{
    (void)state;
    static const char *const texts[] = {
        OK "Content-Encoding: gzip, gzip\r\nContent-Length: 0\r\n\r\n",
        OK "Content-Encoding: gzip\r\nContent-Encoding: gzip\r\nContent-Length: 0\r\n\r\n",
        OK "Content-Encoding: zstd\r\nContent-Length: 0\r\n\r\n"};
    pst_reply_t r;
    pst_reply_init(&r);
    for (size_t i = 0; i < PST_COUNT(texts); i++) {
        pst_reply_clear(&r);
        assert_int_equal(feed(&r, texts[i], strlen(texts[i]), SIZE_MAX), PST_REPLY_DONE);
        assert_int_equal(r.coding, PST_CODING_OTHER);
    }
    pst_reply_release(&r);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(answers_are_framed),
    cmocka_unit_test(a_connection_is_kept_only_where_all_is_clear),
    cmocka_unit_test(what_breaks_off_is_broken),
    cmocka_unit_test(what_is_not_understood_is_broken),
    cmocka_unit_test(headers_are_lower_case_and_trimmed),
    cmocka_unit_test(headers_past_the_caps_are_left_out),
    cmocka_unit_test(nothing_goes_on_for_ever),
    cmocka_unit_test(a_body_has_its_limit),
    cmocka_unit_test(a_body_may_come_in_many_chunks),
    cmocka_unit_test(what_curl_hands_on_is_kept_alike),
    cmocka_unit_test(packed_bodies_are_unpacked),
    cmocka_unit_test(what_does_not_unpack_is_broken),
    cmocka_unit_test(an_unpacked_body_has_its_limit),
    cmocka_unit_test(an_unpacked_reply_is_used_again),
    cmocka_unit_test(several_codings_are_others),
};

UNIT_MAIN(tests)
