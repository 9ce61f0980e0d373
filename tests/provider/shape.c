#include "shape.h"

#include <stdio.h>

void sim_put_echo(const sim_call_t *c, pst_buf_t *b)
{
    pst_buf_puts(b, "\"" SIM_ECHO);
    pst_buf_putv(b, c->body->text_raw);
    char *pad = c->pad ? pst_buf_reserve(b, c->pad) : NULL;
    if (pad) {
        memset(pad, '.', c->pad);
        b->n += c->pad;
    }
    pst_buf_putc(b, '"');
}

/* Bytes of the character or escape that begins there; a pair of escapes is one character. */
static size_t unit_bytes(const char *p, size_t left)
{
    unsigned char c = (unsigned char)*p;
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == '\\')
        n = left > 1 && p[1] == 'u' ? 6 : 2;
    if (n == 6 && left >= 12 && (p[2] | 0x20) == 'd' && p[3] >= '8' && (p[3] | 0x20) <= 'b')
        n = 12;
    return PST_MIN(n, left);
}

bool sim_put_parts(const sim_call_t *c, pst_buf_t *b, void (*put)(const sim_call_t *c, pst_view_t part, pst_buf_t *b),
                   const char *error_event)
{
    pst_buf_t text;
    pst_buf_init(&text, 0);
    sim_put_echo(c, &text);
    const char *p = text.p + 1, *end = text.p + text.n - 1;
    bool spoilt = false, goes_on = true;
    while (p < end && goes_on) {
        size_t n = 0, left = (size_t)(end - p);
        if (!spoilt && p >= text.p + text.n / 2) {
            spoilt = true;
            if (c->spoil == SIM_BAD_EVENT)
                pst_buf_puts(b, "data: {\"choices\":[{\n\n");
            goes_on = c->spoil != SIM_ERROR_EVENT;
            if (!goes_on)
                pst_buf_puts(b, error_event);
        }
        while (n < left && n < PST_MAX(c->stream_bytes, (size_t)1))
            n += unit_bytes(p + n, left - n);
        if (goes_on)
            put(c, pst_view(p, n), b);
        p += n;
    }
    pst_buf_release(&text);
    return goes_on;
}

void sim_put_seconds(pst_ns_t t, pst_buf_t *b)
{
    uint64_t ms = sim_ms_up(t);
    pst_buf_printf(b, "%llu", (unsigned long long)(ms / 1000));
    if (ms % 1000) {
        char decimals[8];
        int n = snprintf(decimals, sizeof decimals, "%03u", (unsigned)(ms % 1000));
        while (decimals[n - 1] == '0')
            n--;
        pst_buf_printf(b, ".%.*s", n, decimals);
    }
    pst_buf_putc(b, 's');
}

void sim_put_retry_after(pst_ns_t wait, pst_buf_t *head)
{
    if (wait)
        pst_buf_printf(head, "retry-after: %llu\r\n",
                       (unsigned long long)((wait + PST_SEC - 1) / PST_SEC));
}

/* The two first and last bytes of a key, as providers show it. */
static void put_masked(pst_view_t key, pst_buf_t *b)
{
    if (key.n > 8) {
        pst_buf_put(b, key.p, 2);
        pst_buf_puts(b, "****");
        pst_buf_put(b, key.p + key.n - 2, 2);
    } else {
        pst_buf_puts(b, "****");
    }
}

static void put_value(const sim_call_t *c, const sim_error_t *e, pst_view_t name, pst_buf_t *b)
{
    const sim_allowance_t *a = e->for_tokens ? &c->grant.tokens : &c->grant.requests;
    if (pst_view_eqs(name, "model"))
        pst_buf_putv(b, c->model);
    else if (pst_view_eqs(name, "key"))
        put_masked(c->key, b);
    else if (pst_view_eqs(name, "wait"))
        sim_put_seconds(e->wait, b);
    else if (pst_view_eqs(name, "limit"))
        pst_buf_printf(b, "%.0f", a->limit);
    else if (pst_view_eqs(name, "unit"))
        pst_buf_puts(b, e->for_tokens ? "tokens" : "requests");
    else if (pst_view_eqs(name, "input"))
        pst_buf_printf(b, "%llu", (unsigned long long)c->input_tokens);
}

void sim_put_message(const sim_call_t *c, const sim_error_t *e, const char *template, pst_buf_t *b)
{
    pst_buf_t plain;
    pst_buf_init(&plain, 0);
    for (const char *p = template; *p;) {
        const char *close = *p == '{' ? strchr(p, '}') : NULL;
        if (close) {
            put_value(c, e, pst_view(p + 1, (size_t)(close - p - 1)), &plain);
            p = close + 1;
        } else {
            pst_buf_putc(&plain, *p++);
        }
    }
    sim_js_put(b, pst_buf_view(&plain));
    pst_buf_release(&plain);
}
