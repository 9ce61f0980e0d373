#include "http/reply.h"

#include "penstock/limits.h"

#define ROOM_MIN ((size_t)16 << 10)
#define ROOM_MAX ((size_t)1 << 20)
#define LINE_BYTES_MAX ((size_t)64 << 10)
#define KEEP_BYTES ((size_t)256 << 10)
#define SPARE_MAX 64
#define DIGITS_MAX 15 /* of a length: more is no length that anybody means */

enum phase { STATUS, HEADERS, BY_LENGTH, CHUNK_SIZE, CHUNK, CHUNK_END, TRAILERS, UNTIL_EOF, ENDED };

void pst_reply_init(pst_reply_t *r)
{
    memset(r, 0, sizeof *r);
    pst_link_init(&r->link);
    pst_buf_init(&r->in, PST_RESULT_BODY_BYTES_MAX + PST_REPLY_LINES_BYTES_MAX + ROOM_MAX);
    pst_buf_init(&r->head, PST_HTTP_ANSWER_HEADER_BYTES_MAX);
}

void pst_reply_clear(pst_reply_t *r)
{
    if (r->in.cap > KEEP_BYTES)
        pst_buf_release(&r->in);
    pst_buf_clear(&r->in);
    pst_buf_clear(&r->head);
    r->body_at = r->body_end = r->at = r->lines = 0;
    r->phase = STATUS;
    r->status = 0;
    r->coding = PST_CODING_NONE;
    r->spans = 0;
}

void pst_reply_release(pst_reply_t *r)
{
    pst_buf_release(&r->in);
    pst_buf_release(&r->head);
}

/* ---- headers --------------------------------------------------------------------------------- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static pst_view_t trim(pst_view_t v)
{
    while (v.n && is_blank(v.p[0]))
        v = pst_view(v.p + 1, v.n - 1);
    while (v.n && is_blank(v.p[v.n - 1]))
        v.n--;
    return v;
}

static bool is_word(pst_view_t v, const char *word)
{
    size_t n = strlen(word), i = 0;
    while (i < n && i < v.n && lower(v.p[i]) == word[i])
        i++;
    return i == n && v.n == n;
}

/* Of a list with commas. */
static bool has_word(pst_view_t list, const char *word)
{
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (is_word(trim(pst_view(list.p, n)), word))
            return true;
        n += comma != NULL;
        list = pst_view(list.p + n, list.n - n);
    }
    return false;
}

/* Past the caps it is left out: a shorter one may still fit. */
static void keep_header(pst_reply_t *r, pst_view_t name, pst_view_t value)
{
    if (r->spans == PST_HTTP_ANSWER_HEADERS_MAX)
        return;
    char *p = pst_buf_reserve(&r->head, name.n + value.n);
    if (!p) {
        r->head.failed = false;
        return;
    }
    for (size_t i = 0; i < name.n; i++)
        p[i] = lower(name.p[i]);
    if (value.n)
        memcpy(p + name.n, value.p, value.n);
    uint32_t at = (uint32_t)r->head.n, name_n = (uint32_t)name.n;
    r->span[r->spans++] = (pst_reply_span_t){at, name_n, at + name_n, (uint32_t)value.n};
    r->head.n += name.n + value.n;
}

static void forget_headers(pst_reply_t *r)
{
    pst_buf_clear(&r->head);
    r->spans = 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The three digits behind the first blank of a status line, "HTTP/2 200"; 0: there are none. */
static int status_in(pst_view_t line)
{
    const char *d = memchr(line.p, ' ', line.n);
    if (!d || line.p + line.n - d < 4 || !is_digit(d[1]) || !is_digit(d[2]) || !is_digit(d[3]))
        return 0;
    return (d[1] - '0') * 100 + (d[2] - '0') * 10 + (d[3] - '0');
}

void pst_reply_header(pst_reply_t *r, pst_view_t line)
{
    if (line.n >= 5 && memcmp(line.p, "HTTP/", 5) == 0) {
        forget_headers(r);
        r->status = status_in(line);
        return;
    }
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon || colon == line.p)
        return;
    size_t n = (size_t)(colon - line.p);
    keep_header(r, pst_view(line.p, n), trim(pst_view(colon + 1, line.n - n - 1)));
}

bool pst_reply_body(pst_reply_t *r, const void *p, size_t n)
{
    if (n > PST_RESULT_BODY_BYTES_MAX - r->body_end)
        return false;
    pst_buf_put(&r->in, p, n);
    r->body_end = r->in.n;
    return !r->in.failed;
}

/* ---- the wire -------------------------------------------------------------------------------- */

/* The next line without its end, which may be a bare line feed.  false: it is not there yet, or *ret_long. */
static bool take_line(pst_reply_t *r, pst_view_t *ret, bool *ret_long)
{
    size_t n = r->in.n - r->at;
    const char *from = r->in.p + r->at, *feed = n ? memchr(from, '\n', n) : NULL;
    *ret_long = (feed ? (size_t)(feed - from) : n) > LINE_BYTES_MAX;
    if (!feed || *ret_long)
        return false;
    n = (size_t)(feed - from);
    r->at += n + 1;
    if (r->phase != CHUNK_SIZE && r->phase != CHUNK_END)
        r->lines += n + 1;
    *ret = pst_view(from, n && from[n - 1] == '\r' ? n - 1 : n);
    return true;
}

/* HTTP/1.1 200 OK */
static bool on_status(pst_reply_t *r, pst_view_t v)
{
    if (v.n < 12 || memcmp(v.p, "HTTP/1.", 7) != 0 || !is_digit(v.p[7]) || v.p[8] != ' ')
        return false;
    r->status = status_in(v);
    if (r->status < 100 || (v.n > 12 && v.p[12] != ' '))
        return false;
    r->keeps = v.p[7] != '0';
    r->closes = r->has_length = r->chunked = false;
    r->coding = PST_CODING_NONE;
    forget_headers(r);
    r->phase = HEADERS;
    return true;
}

static bool on_length(pst_reply_t *r, pst_view_t v)
{
    uint64_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (!is_digit(v.p[i]) || i == DIGITS_MAX)
            return false;
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    if (v.n == 0 || (r->has_length && r->length != n))
        return false;
    r->has_length = true;
    r->length = n;
    return true;
}

static pst_coding_t coding_of(pst_view_t v)
{
    if (is_word(v, "identity"))
        return PST_CODING_NONE;
    if (is_word(v, "gzip") || is_word(v, "x-gzip"))
        return PST_CODING_GZIP;
    return is_word(v, "deflate") ? PST_CODING_DEFLATE : PST_CODING_OTHER;
}

static bool on_header(pst_reply_t *r, pst_view_t line)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon || colon == line.p || is_blank(line.p[0]) || is_blank(colon[-1]))
        return false;
    pst_view_t name = pst_view(line.p, (size_t)(colon - line.p));
    pst_view_t value = trim(pst_view(colon + 1, line.n - name.n - 1));
    keep_header(r, name, value);
    if (is_word(name, "content-length"))
        return on_length(r, value);
    if (is_word(name, "transfer-encoding")) {
        r->chunked = is_word(value, "chunked");
        return r->chunked;
    }
    if (is_word(name, "connection")) {
        r->keeps = r->keeps || has_word(value, "keep-alive");
        r->closes = r->closes || has_word(value, "close");
    } else if (is_word(name, "content-encoding")) {
        r->coding = r->coding ? PST_CODING_OTHER : coding_of(value);
    }
    return true;
}

/* After the last header: how the body will come. */
static pst_reply_state_t begin_body(pst_reply_t *r)
{
    if (r->status < 200) {
        r->phase = STATUS;
        return r->status == 101 ? PST_REPLY_BROKEN : PST_REPLY_MORE;
    }
    r->body_at = r->body_end = r->at;
    r->left = r->has_length ? r->length : 0;
    if (r->status == 204 || r->status == 304) {
        r->left = 0;
        r->phase = BY_LENGTH;
    } else if (r->chunked) {
        r->keeps = r->keeps && !r->has_length; /* somebody on the way saw another answer */
        r->phase = CHUNK_SIZE;
    } else if (r->has_length) {
        r->phase = BY_LENGTH;
    } else {
        r->keeps = false;
        r->phase = UNTIL_EOF;
    }
    return r->left > PST_RESULT_BODY_BYTES_MAX ? PST_REPLY_TOO_LARGE : PST_REPLY_MORE;
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    c = lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 1a2b;name=value: what follows the size means nothing to us. */
static pst_reply_state_t on_chunk_size(pst_reply_t *r, pst_view_t v)
{
    uint64_t n = 0;
    size_t i = 0;
    for (; i < v.n && hex_digit(v.p[i]) >= 0; i++) {
        if (i == DIGITS_MAX)
            return PST_REPLY_BROKEN;
        n = n * 16 + (uint64_t)hex_digit(v.p[i]);
    }
    if (i == 0 || (i < v.n && v.p[i] != ';' && !is_blank(v.p[i])))
        return PST_REPLY_BROKEN;
    r->left = n;
    r->phase = n ? CHUNK : TRAILERS;
    return n > PST_RESULT_BODY_BYTES_MAX - (r->body_end - r->body_at) ? PST_REPLY_TOO_LARGE : PST_REPLY_MORE;
}

static pst_reply_state_t on_line(pst_reply_t *r, pst_view_t line)
{
    switch ((enum phase)r->phase) {
    case STATUS:
        return on_status(r, line) ? PST_REPLY_MORE : PST_REPLY_BROKEN;
    case HEADERS:
        if (line.n == 0)
            return begin_body(r);
        return on_header(r, line) ? PST_REPLY_MORE : PST_REPLY_BROKEN;
    case CHUNK_SIZE:
        return on_chunk_size(r, line);
    case CHUNK_END:
        r->phase = CHUNK_SIZE;
        return line.n ? PST_REPLY_BROKEN : PST_REPLY_MORE;
    case TRAILERS:
        if (line.n == 0)
            r->phase = ENDED;
        return PST_REPLY_MORE;
    case BY_LENGTH:
    case CHUNK:
    case UNTIL_EOF:
    case ENDED:
        break;
    }
    return PST_REPLY_BROKEN;
}

static void take_chunk(pst_reply_t *r)
{
    size_t n = (size_t)PST_MIN(r->left, (uint64_t)(r->in.n - r->at));
    if (r->at != r->body_end)
        memmove(r->in.p + r->body_end, r->in.p + r->at, n);
    r->body_end += n;
    r->at += n;
    r->left -= n;
    if (r->left == 0)
        r->phase = CHUNK_END;
}

/* What is left of a chunked answer moves up to the body, over what was understood. */
static void close_gap(pst_reply_t *r)
{
    size_t rest = r->in.n - r->at;
    if (r->at == r->body_end)
        return;
    memmove(r->in.p + r->body_end, r->in.p + r->at, rest);
    r->at = r->body_end;
    r->in.n = r->at + rest;
}

static pst_reply_state_t end(pst_reply_t *r)
{
    r->phase = ENDED;
    r->keeps = r->keeps && !r->closes && r->at == r->in.n; /* more than an answer: nobody can tell what it is */
    return PST_REPLY_DONE;
}

static pst_reply_state_t take_lines(pst_reply_t *r)
{
    pst_view_t line;
    bool too_long;
    while (r->phase == STATUS || r->phase == HEADERS || r->phase == CHUNK_SIZE || r->phase == CHUNK_END ||
           r->phase == TRAILERS) {
        if (!take_line(r, &line, &too_long))
            return too_long ? PST_REPLY_BROKEN : PST_REPLY_MORE;
        pst_reply_state_t s = r->lines > PST_REPLY_LINES_BYTES_MAX ? PST_REPLY_BROKEN : on_line(r, line);
        if (s != PST_REPLY_MORE)
            return s;
        if (r->phase == CHUNK)
            take_chunk(r);
    }
    return PST_REPLY_MORE;
}

pst_reply_state_t pst_reply_came(pst_reply_t *r, size_t n)
{
    r->in.n += n;
    if (r->phase == CHUNK)
        take_chunk(r);
    pst_reply_state_t s = take_lines(r);
    if (s != PST_REPLY_MORE)
        return s;
    size_t body = r->in.n - r->body_at;
    switch ((enum phase)r->phase) {
    case BY_LENGTH:
        if (body < r->left)
            return PST_REPLY_MORE;
        r->body_end = r->at = r->body_at + (size_t)r->left;
        return end(r);
    case UNTIL_EOF:
        r->body_end = r->at = r->in.n;
        return body > PST_RESULT_BODY_BYTES_MAX ? PST_REPLY_TOO_LARGE : PST_REPLY_MORE;
    case CHUNK_SIZE:
    case CHUNK:
    case CHUNK_END:
    case TRAILERS:
        close_gap(r);
        return PST_REPLY_MORE;
    case ENDED:
        return end(r);
    case STATUS:
    case HEADERS:
        break;
    }
    return PST_REPLY_MORE;
}

pst_reply_state_t pst_reply_eof(pst_reply_t *r)
{
    r->keeps = false;
    return r->phase == UNTIL_EOF ? end(r) : PST_REPLY_BROKEN;
}

char *pst_reply_room(pst_reply_t *r, size_t *ret_n)
{
    size_t want = ROOM_MIN;
    if (r->phase == BY_LENGTH && r->left > r->in.n - r->body_at)
        want = PST_MAX(want, (size_t)PST_MIN(r->left - (r->in.n - r->body_at), (uint64_t)ROOM_MAX));
    char *p = pst_buf_reserve(&r->in, want);
    *ret_n = p ? r->in.cap - r->in.n : 0;
    return p;
}

/* ---- reading it ------------------------------------------------------------------------------ */

pst_view_t pst_reply_so_far(const pst_reply_t *r)
{
    return pst_view(r->in.p + r->body_at, r->body_end - r->body_at);
}

void pst_reply_taken(pst_reply_t *r)
{
    size_t n = r->body_end - r->body_at;
    memmove(r->in.p + r->body_at, r->in.p + r->body_end, r->in.n - r->body_end);
    r->in.n -= n;
    r->at -= n;
    r->body_end = r->body_at;
}

void pst_reply_fill(const pst_reply_t *r, pst_http_header_t *header, pst_http_answer_t *ret)
{
    for (unsigned i = 0; i < r->spans; i++) {
        const pst_reply_span_t *s = &r->span[i];
        header[i].name = pst_view(r->head.p + s->name_at, s->name_n);
        header[i].value = pst_view(r->head.p + s->value_at, s->value_n);
    }
    ret->header = header;
    ret->headers = r->spans;
    ret->body = r->in.p ? pst_view(r->in.p + r->body_at, r->body_end - r->body_at) : pst_view(NULL, 0);
}

/* ---- spare ones ------------------------------------------------------------------------------ */

void pst_replies_init(pst_replies_t *l)
{
    pst_link_init(&l->spare);
    l->n = 0;
}

static void free_reply(pst_reply_t *r)
{
    pst_link_remove(&r->link);
    pst_reply_release(r);
    free(r);
}

void pst_replies_release(pst_replies_t *l)
{
    while (!pst_link_empty(&l->spare))
        free_reply(PST_CONTAINER(l->spare.next, pst_reply_t, link));
    l->n = 0;
}

pst_reply_t *pst_replies_take(pst_replies_t *l)
{
    pst_reply_t *r;
    if (pst_link_empty(&l->spare)) {
        r = pst_alloc(sizeof *r);
        pst_reply_init(r);
        return r;
    }
    r = PST_CONTAINER(l->spare.next, pst_reply_t, link);
    pst_link_remove(&r->link);
    l->n--;
    return r;
}

void pst_replies_give(pst_replies_t *l, pst_reply_t **r)
{
    pst_reply_t *x = pst_take(r);
    if (!x)
        return;
    if (l->n == SPARE_MAX) {
        free_reply(x);
        return;
    }
    pst_reply_clear(x);
    pst_link_after(&l->spare, &x->link);
    l->n++;
}
