#include "providers/sse.h"

#include "providers/common.h"

void pst_sse_init(pst_sse_t *s)
{
    memset(s, 0, sizeof *s);
    pst_buf_init(&s->line, PST_SSE_EVENT_BYTES_MAX);
    pst_buf_init(&s->name, PST_SSE_EVENT_BYTES_MAX);
    pst_buf_init(&s->data, PST_SSE_EVENT_BYTES_MAX);
}

void pst_sse_release(pst_sse_t *s)
{
    pst_buf_release(&s->line);
    pst_buf_release(&s->name);
    pst_buf_release(&s->data);
}

/* Where the line ends that begins there; n if it does not. */
static size_t line_end(const char *p, size_t n)
{
    const char *feed = memchr(p, '\n', n);
    size_t end = feed ? (size_t)(feed - p) : n;
    const char *cr = end ? memchr(p, '\r', end) : NULL;
    return cr ? (size_t)(cr - p) : end;
}

/* false: the next line has not ended, and what there is of it is kept. */
static bool take_line(pst_sse_t *s, pst_view_t *bytes, pst_view_t *ret)
{
    if (s->kept)
        pst_buf_clear(&s->line);
    s->kept = false;
    if (s->after_cr && bytes->n) {
        size_t feed = bytes->p[0] == '\n';
        *bytes = pst_view(bytes->p + feed, bytes->n - feed);
        s->after_cr = false;
    }
    if (bytes->n == 0)
        return false;
    size_t n = line_end(bytes->p, bytes->n);
    bool ended = n < bytes->n;
    *ret = pst_view(bytes->p, n);
    s->after_cr = ended && bytes->p[n] == '\r';
    if (!ended || s->line.n) {
        pst_buf_put(&s->line, bytes->p, n);
        *ret = pst_buf_view(&s->line);
        s->kept = ended;
    }
    n += ended;
    *bytes = pst_view(bytes->p + n, bytes->n - n);
    return ended;
}

static void on_field(pst_sse_t *s, pst_view_t name, pst_view_t value)
{
    if (pst_view_eqs(name, "data")) {
        if (s->has_data)
            pst_buf_putc(&s->data, '\n');
        pst_buf_putv(&s->data, value);
        s->has_data = true;
    } else if (pst_view_eqs(name, "event")) {
        pst_buf_clear(&s->name);
        pst_buf_putv(&s->name, value);
    }
}

/* true: it ends an event that has data. */
static bool on_line(pst_sse_t *s, pst_view_t line)
{
    if (!s->begun && pst_text_starts(line, "\xef\xbb\xbf"))
        line = pst_view(line.p + 3, line.n - 3);
    s->begun = true;
    if (line.n == 0) {
        if (!s->has_data)
            pst_buf_clear(&s->name);
        return s->has_data;
    }
    const char *colon = memchr(line.p, ':', line.n);
    size_t n = colon ? (size_t)(colon - line.p) : line.n, from = n + (colon != NULL);
    from += from < line.n && line.p[from] == ' ';
    on_field(s, pst_view(line.p, n), pst_view(line.p + from, line.n - from));
    return false;
}

static void begin_event(pst_sse_t *s)
{
    if (!s->ended)
        return;
    pst_buf_clear(&s->name);
    pst_buf_clear(&s->data);
    s->has_data = s->ended = false;
}

static pst_sse_state_t end_event(pst_sse_t *s, pst_view_t *ret_name, pst_view_t *ret_data)
{
    *ret_name = pst_buf_view(&s->name);
    *ret_data = pst_buf_view(&s->data);
    s->ended = true;
    return PST_SSE_EVENT;
}

static bool too_large(const pst_sse_t *s)
{
    return s->line.failed || s->name.failed || s->data.failed;
}

pst_sse_state_t pst_sse_next(pst_sse_t *s, pst_view_t *bytes, pst_view_t *ret_name, pst_view_t *ret_data)
{
    pst_view_t line;
    begin_event(s);
    while (take_line(s, bytes, &line) && !too_large(s)) {
        if (on_line(s, line) && !too_large(s))
            return end_event(s, ret_name, ret_data);
    }
    return too_large(s) ? PST_SSE_TOO_LARGE : PST_SSE_MORE;
}

pst_sse_state_t pst_sse_end(pst_sse_t *s, pst_view_t *ret_name, pst_view_t *ret_data)
{
    begin_event(s);
    if (s->line.n && !s->kept)
        (void)on_line(s, pst_buf_view(&s->line));
    s->kept = true;
    if (too_large(s))
        return PST_SSE_TOO_LARGE;
    return s->has_data ? end_event(s, ret_name, ret_data) : PST_SSE_MORE;
}
