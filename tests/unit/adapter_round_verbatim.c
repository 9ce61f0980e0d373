#include "adapter_round.h"

/* A member of the body, as it is written. */
typedef struct member {
    const char *key;
    bool routing; /* ours: the host gets nothing of it */
    bool model;
} member_t;

static const char *draw_space(pst_rng_t *r)
{
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t", "\r\n  ", "   \n\t"};
    return spaces[pst_rng_below(r, PST_COUNT(spaces))];
}

/* Values that a parser which reads and writes again would change. */
static void put_scalar(pst_rng_t *r, pst_buf_t *b)
{
    static const char *const values[] = {
        "9223372036854775807", "-9223372036854775808", "18446744073709551615", "123456789012345678901234567890",
        "1e400", "-1E-400", "0.1", "1.0", "1.10", "-0", "-0.0", "1E+2", "0.30000000000000004", "true", "false", "null",
        "\"\"", "\"\\u0000\"", "\"a\\u0000b\"", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\uD83D\\uDE00\"",
        "\"\xf0\x9f\x98\x80\"", "\"\\/\"", "\"/\"", "\"\\u0041\"", "\"\\\"}],{[\\\\\"", "\"\x7f\"", "\"\xe2\x80\xa8\"",
        "\"developer\"", "\"max_tokens\"", "{}", "[]",
    };
    pst_buf_puts(b, values[pst_rng_below(r, PST_COUNT(values))]);
}

static void put_value(pst_rng_t *r, pst_buf_t *b, unsigned depth);

static void put_object(pst_rng_t *r, pst_buf_t *b, unsigned depth)
{
    static const char *const keys[] = {"a", "a", "model", "stream", "provider", "\\u0061", "", "role", "\\ud800"};
    pst_buf_putc(b, '{');
    for (uint64_t n = pst_rng_below(r, 4), i = 0; i < n; i++) {
        pst_buf_puts(b, i ? "," : "");
        pst_buf_puts(b, draw_space(r));
        pst_buf_putc(b, '"');
        pst_buf_puts(b, keys[pst_rng_below(r, PST_COUNT(keys))]);
        pst_buf_puts(b, "\"");
        pst_buf_puts(b, draw_space(r));
        pst_buf_putc(b, ':');
        pst_buf_puts(b, draw_space(r));
        put_value(r, b, depth);
    }
    pst_buf_puts(b, draw_space(r));
    pst_buf_putc(b, '}');
}

static void put_array(pst_rng_t *r, pst_buf_t *b, unsigned depth)
{
    pst_buf_putc(b, '[');
    for (uint64_t n = pst_rng_below(r, 4), i = 0; i < n; i++) {
        pst_buf_puts(b, i ? "," : "");
        pst_buf_puts(b, draw_space(r));
        put_value(r, b, depth);
    }
    pst_buf_puts(b, draw_space(r));
    pst_buf_putc(b, ']');
}

/* As deep as a body may be: it is a level itself, and what is inmost may be one. */
static void put_deep(pst_rng_t *r, pst_buf_t *b)
{
    unsigned depth = PST_JSON_DEPTH_MAX - 2 - (unsigned)pst_rng_below(r, 4);
    for (unsigned i = 0; i < depth; i++)
        pst_buf_puts(b, i % 2 ? "{\"a\":" : "[");
    put_scalar(r, b);
    for (unsigned i = depth; i-- > 0;)
        pst_buf_putc(b, i % 2 ? '}' : ']');
}

/* Long enough that the body is sent in pieces, and its members are or are not pieces of their own. */
static void put_long(pst_rng_t *r, pst_buf_t *b)
{
    pst_buf_putc(b, '"');
    for (uint64_t n = 2000 + pst_rng_below(r, 40000); n; n--)
        pst_buf_puts(b, n % 64 ? "ab" : "\\n");
    pst_buf_putc(b, '"');
}

static void put_value(pst_rng_t *r, pst_buf_t *b, unsigned depth)
{
    if (depth && round_one_in(r, 4))
        put_object(r, b, depth - 1);
    else if (depth && round_one_in(r, 4))
        put_array(r, b, depth - 1);
    else
        put_scalar(r, b);
}

static void put_kept(pst_rng_t *r, pst_buf_t *b, bool is_long)
{
    if (is_long && round_one_in(r, 2))
        put_long(r, b);
    else if (round_one_in(r, 40))
        put_deep(r, b);
    else
        put_value(r, b, 3);
}

static member_t draw_member(pst_rng_t *r)
{
    static const member_t members[] = {
        {"model", false, true},      {"mod\\u0065l", false, true},    {"models", true, false},
        {"provider", true, false},   {"stream", true, false},         {"\\u0073tream", true, false},
        {"temperature", false, false}, {"messages", false, false},    {"messages", false, false},
        {"max_tokens", false, false}, {"store", false, false},        {"unknown", false, false},
        {"", false, false},          {"\\ud800", false, false},       {"Model", false, false},
        {"user", false, false},      {"model\\u0000", false, false},
    };
    return members[pst_rng_below(r, PST_COUNT(members))];
}

static void put_pair(pst_rng_t *r, const char *model, const member_t *m, bool is_long, pst_buf_t *job, pst_buf_t *want)
{
    size_t from = job->n;
    pst_buf_putc(job, '"');
    pst_buf_puts(job, m->key);
    pst_buf_putc(job, '"');
    pst_buf_puts(job, draw_space(r));
    pst_buf_putc(job, ':');
    pst_buf_puts(job, draw_space(r));
    size_t value = job->n;
    if (m->routing && strstr(m->key, "tream"))
        pst_buf_puts(job, round_one_in(r, 2) ? "false" : "null");
    else
        put_kept(r, job, is_long && !m->model);
    if (m->routing)
        return;
    pst_buf_put(want, job->p + from, (m->model ? value : job->n) - from);
    if (m->model) {
        pst_buf_putc(want, '"');
        pst_buf_puts(want, model);
        pst_buf_putc(want, '"');
    }
}

void round_draw_verbatim(pst_rng_t *r, const char *model, pst_buf_t *job, pst_buf_t *want)
{
    bool is_long = round_one_in(r, 64), first = true, has_model = false;
    pst_buf_puts(job, draw_space(r)); /* around the object there is nothing of the user's */
    pst_buf_putc(job, '{');
    pst_buf_putc(want, '{');
    for (uint64_t n = pst_rng_below(r, 9), i = 0; i < n; i++) {
        member_t m = draw_member(r);
        size_t gap = job->n;
        pst_buf_puts(job, i ? draw_space(r) : "");
        pst_buf_puts(job, i ? "," : "");
        pst_buf_puts(job, draw_space(r));
        if (!m.routing && (!first || i == 0)) /* one that becomes the first has no comma before it */
            pst_buf_put(want, job->p + gap, job->n - gap);
        put_pair(r, model, &m, is_long, job, want);
        first = first && m.routing;
        has_model = has_model || m.model;
    }
    if (!has_model) {
        pst_buf_puts(want, first ? "\"model\":\"" : ",\"model\":\"");
        pst_buf_puts(want, model);
        pst_buf_putc(want, '"');
    }
    size_t end = job->n;
    pst_buf_puts(job, draw_space(r));
    pst_buf_putc(job, '}');
    pst_buf_put(want, job->p + end, job->n - end);
    pst_buf_puts(job, draw_space(r));
}
