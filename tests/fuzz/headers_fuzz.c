/* headers_fuzz.c - what a provider says in headers and in prose of waiting and of limits.
 *
 * An input is four bytes of time, the seconds since 2007, from when on California's daylight saving is known; a text with a
 * delay in it, to the end of its line; header lines as curl hands them on. */
#include "fuzz.h"
#include "http/reply.h"
#include "providers/delay.h"
#include "providers/limits.h"

#define TIME_BYTES 4
#define YEAR_2007_S UINT64_C(1167609600)
#define NOT_SAID UINT64_MAX

/* It is set where it is said to be; how long it may be is for those who ask. */
static void check_delay(bool said, uint64_t *ms)
{
    PST_ASSERT(said == (*ms != NOT_SAID));
    *ms = NOT_SAID;
}

static void check_text(pst_view_t text, uint64_t wall_ms)
{
    uint64_t ms = NOT_SAID;
    check_delay(pst_delay_parse(text, wall_ms, &ms), &ms);
    check_delay(pst_delay_in_message(text, wall_ms, &ms), &ms);
    ms = pst_delay_to_pacific_midnight(wall_ms);
    PST_ASSERT(ms > 0 && ms <= PST_DELAY_MAX_MS);
}

static void check_limits(const pst_http_answer_t *answer)
{
    pst_arena_t a;
    pst_reading_t r;
    unsigned rates = 0;
    memset(&r, 0, sizeof r);
    pst_arena_init(&a, 0);
    pst_limits_read(answer, &a, &r);
    PST_ASSERT(r.limits_n <= PST_RATE_COUNT);
    for (unsigned i = 0; i < r.limits_n; i++) {
        const pst_rate_report_t *l = &r.limits[i];
        PST_ASSERT(l->rate < PST_RATE_COUNT && !(rates & 1u << l->rate));
        PST_ASSERT(l->limit > 0 && l->reset_ms <= PST_DELAY_MAX_MS);
        rates |= 1u << l->rate;
    }
    pst_arena_release(&a);
}

static void check_headers(pst_view_t text, uint64_t wall_ms)
{
    pst_http_header_t header[PST_HTTP_ANSWER_HEADERS_MAX];
    pst_http_answer_t answer = {.status = 429, .wall_ms = wall_ms};
    pst_reply_t reply;
    uint64_t ms = NOT_SAID;
    pst_reply_init(&reply);
    while (text.n) {
        const char *feed = memchr(text.p, '\n', text.n);
        size_t n = feed ? (size_t)(feed - text.p) + 1 : text.n;
        pst_reply_header(&reply, pst_view(text.p, n));
        text = pst_view(text.p + n, text.n - n);
    }
    PST_ASSERT(reply.status >= 0 && reply.status <= 999);
    PST_ASSERT(reply.spans <= PST_HTTP_ANSWER_HEADERS_MAX && reply.head.n <= PST_HTTP_ANSWER_HEADER_BYTES_MAX);
    pst_reply_fill(&reply, header, &answer);
    check_delay(pst_delay_said(&answer, &ms), &ms);
    check_delay(pst_delay_of_exhausted(&answer, &ms), &ms);
    check_limits(&answer);
    pst_reply_release(&reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t wall_s = 0;
    if (size < TIME_BYTES)
        return 0;
    for (size_t i = 0; i < TIME_BYTES; i++)
        wall_s = wall_s << 8 | data[i];
    wall_s += YEAR_2007_S;
    pst_view_t text = pst_view((const char *)data + TIME_BYTES, size - TIME_BYTES);
    const char *feed = text.n ? memchr(text.p, '\n', text.n) : NULL;
    size_t n = feed ? (size_t)(feed - text.p) : text.n, next = n + (feed != NULL);
    check_text(pst_view(text.p, n), wall_s * 1000);
    check_headers(pst_view(text.p + next, text.n - next), wall_s * 1000);
    return 0;
}
