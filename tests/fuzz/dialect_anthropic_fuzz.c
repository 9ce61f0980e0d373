/* dialect_anthropic_fuzz.c - whatever a client of Anthropic's dialect may send, and whatever may be answered.
 *
 * The first byte of an input says what the rest is:
 *   q  a Messages body        c  one whose tokens are counted      l  an element of a batch's requests
 *   a  a chat completion      e  an error body                     r  a result line
 *   s  the chunks of a stream, one a line
 * What comes out is JSON on one line, or a stream of events in the order that Anthropic's have. */
#include "fuzz.h"
#include "gateway/anthropic.h"

static bool parses(pst_json_t *j, pst_view_t text)
{
    return pst_json_parse(j, text, NULL) == PST_OK;
}

/* A translation is a few levels deeper than what it is made of, and arguments that were text become part of it: only
 * where few brackets came is it sure that the result is not deeper than our own parser goes. */
static bool may_be_deep(pst_view_t text)
{
    size_t brackets = 0;
    for (size_t i = 0; i < text.n; i++)
        brackets += text.p[i] == '[' || text.p[i] == '{' || (text.p[i] == '\\' && i + 1 < text.n && text.p[i + 1] == 'u');
    return brackets > PST_JSON_DEPTH_MAX - 16;
}

static void check_line(pst_view_t in, const pst_buf_t *out)
{
    pst_json_t j;
    pst_json_init(&j);
    PST_ASSERT(!out->failed && out->n > 0);
    PST_ASSERT(!memchr(out->p, '\n', out->n) && !memchr(out->p, '\r', out->n));
    PST_ASSERT(may_be_deep(in) || parses(&j, pst_buf_view(out)));
    pst_json_release(&j);
}

static void check_one(char kind, pst_view_t in)
{
    pst_anthropic_t x = {0};
    pst_errbuf_t why = {""};
    pst_buf_t out;
    pst_err_t e = PST_OK;
    pst_buf_init(&out, 0);
    if (kind == 'q')
        e = pst_anthropic_request(&x, in, &out, &why);
    else if (kind == 'c')
        e = pst_anthropic_count_tokens(&x, in, &out, &why);
    else if (kind == 'l')
        e = pst_anthropic_batch_line(&x, in, 7, &out, &why);
    else if (kind == 'a')
        e = pst_anthropic_answer(&x, in, PST_VIEW_LIT("batch_X.7"), &out);
    else if (kind == 'r')
        e = pst_anthropic_result(&x, in, &out);
    else
        pst_anthropic_error_of(&x, 400 + (int)(in.n % 200), in, PST_VIEW_LIT("req_1"), &out);
    PST_ASSERT(e == PST_OK || e == PST_E_INVALID || e == PST_E_MALFORMED);
    PST_ASSERT((e == PST_E_INVALID) == (why.text[0] != '\0'));
    if (!e)
        check_line(in, &out);
    pst_buf_release(&out);
    pst_anthropic_release(&x);
}

/* ---- streams ---- */

typedef struct order {
    bool began, open, over;
    int64_t blocks;
} order_t;

static bool is_text(const pst_json_t *j, uint32_t t, const char *want)
{
    pst_view_t v = pst_json_raw(j, t);
    return v.n == strlen(want) + 2 && memcmp(v.p + 1, want, v.n - 2) == 0;
}

/* One block at a time, numbered as they come, between a beginning and an end. */
static void check_order(order_t *o, const pst_json_t *j)
{
    uint32_t type = pst_json_get(j, 0, "type");
    int64_t index = -1;
    (void)pst_json_int(j, pst_json_get(j, 0, "index"), &index);
    PST_ASSERT(!o->over);
    if (is_text(j, type, "error")) {
        o->over = true;
    } else if (is_text(j, type, "message_start")) {
        PST_ASSERT(!o->began);
        o->began = true;
    } else if (is_text(j, type, "content_block_start")) {
        PST_ASSERT(o->began && !o->open && index == o->blocks);
        o->open = true;
        o->blocks++;
    } else if (is_text(j, type, "content_block_delta")) {
        PST_ASSERT(o->open && index == o->blocks - 1);
    } else if (is_text(j, type, "content_block_stop")) {
        PST_ASSERT(o->open && index == o->blocks - 1);
        o->open = false;
    } else if (is_text(j, type, "message_stop")) {
        o->over = true;
    } else {
        PST_ASSERT(is_text(j, type, "message_delta") && o->began && !o->open);
    }
}

static void check_events(const pst_buf_t *out)
{
    order_t o = {0};
    pst_json_t j;
    pst_json_init(&j);
    for (const char *p = out->p, *end = out->p + out->n; p < end;) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        const char *last = line ? memmem(line, (size_t)(end - line), "\n\n", 2) : NULL;
        PST_ASSERT(last && memcmp(p, "event: ", 7) == 0 && memcmp(line, "\ndata: ", 7) == 0);
        PST_ASSERT(parses(&j, pst_view(line + 7, (size_t)(last - line) - 7)));
        check_order(&o, &j);
        p = last + 2;
    }
    PST_ASSERT(o.over);
    pst_json_release(&j);
}

static void check_stream(pst_view_t in)
{
    pst_anthropic_stream_t s;
    pst_buf_t out;
    pst_buf_init(&out, 0);
    pst_anthropic_stream_init(&s, 3);
    while (in.n) {
        const char *end = memchr(in.p, '\n', in.n);
        size_t n = end ? (size_t)(end - in.p) : in.n;
        pst_anthropic_stream_feed(&s, pst_view(in.p, n), &out);
        n += end != NULL;
        in = pst_view(in.p + n, in.n - n);
    }
    pst_anthropic_stream_end(&s, &out);
    PST_ASSERT(s.done && !out.failed);
    check_events(&out);
    pst_buf_release(&out);
    pst_anthropic_stream_release(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    pst_view_t in = pst_view((const char *)data + 1, size - 1);
    if (data[0] == 's')
        check_stream(in);
    else if (strchr("qclaer", data[0]) && data[0])
        check_one((char)data[0], in);
    return 0;
}
