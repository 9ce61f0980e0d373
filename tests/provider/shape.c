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
