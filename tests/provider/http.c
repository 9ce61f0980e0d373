#include "http.h"

#include <stdio.h>
#include <strings.h>

/* Of a request, with chunk sizes and trailers. */
#define RAW_BYTES_MAX (4 * SIM_HTTP_BODY_BYTES_MAX)

static bool is_token(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c && strchr("!#$%&'*+-.^_`|~", c);
}

static bool all_token(pst_view_t v)
{
    for (size_t i = 0; i < v.n; i++) {
        if (!is_token((unsigned char)v.p[i]))
            return false;
    }
    return v.n > 0;
}

static bool is_named(pst_view_t name, const char *want)
{
    size_t n = strlen(want);
    return name.n == n && strncasecmp(name.p, want, n) == 0;
}

pst_view_t sim_http_header(const sim_http_req_t *req, const char *name)
{
    for (unsigned i = 0; i < req->headers; i++) {
        if (is_named(req->header[i].name, name))
            return req->header[i].value;
    }
    return (pst_view_t){0};
}

static unsigned count_named(const sim_http_req_t *req, const char *name)
{
    unsigned n = 0;
    for (unsigned i = 0; i < req->headers; i++)
        n += is_named(req->header[i].name, name);
    return n;
}

/* "METHOD SP target SP HTTP/1.x", no CRLF.  0 or the status to refuse with. */
static int read_request_line(pst_view_t line, sim_http_req_t *req)
{
    const char *sp = memchr(line.p, ' ', line.n);
    if (!sp)
        return 400;
    req->method = pst_view(line.p, (size_t)(sp - line.p));
    pst_view_t rest = pst_view(sp + 1, line.n - req->method.n - 1);
    sp = memchr(rest.p, ' ', rest.n);
    if (!sp || !all_token(req->method))
        return 400;
    pst_view_t target = pst_view(rest.p, (size_t)(sp - rest.p));
    pst_view_t version = pst_view(sp + 1, rest.n - target.n - 1);
    if (target.n == 0 || target.p[0] != '/')
        return 400;
    for (size_t i = 0; i < target.n; i++) {
        if ((unsigned char)target.p[i] <= ' ' || (unsigned char)target.p[i] >= 0x7f)
            return 400;
    }
    if (version.n != 8 || memcmp(version.p, "HTTP/", 5) != 0)
        return 400;
    if (version.p[5] != '1' || version.p[6] != '.' || (version.p[7] != '0' && version.p[7] != '1'))
        return 505;
    req->minor = (unsigned)(version.p[7] - '0');
    const char *question = memchr(target.p, '?', target.n);
    req->path = question ? pst_view(target.p, (size_t)(question - target.p)) : target;
    if (question)
        req->query = pst_view(question + 1, target.n - req->path.n - 1);
    return 0;
}

static pst_view_t trim(pst_view_t v)
{
    while (v.n && (v.p[0] == ' ' || v.p[0] == '\t')) {
        v.p++;
        v.n--;
    }
    while (v.n && (v.p[v.n - 1] == ' ' || v.p[v.n - 1] == '\t'))
        v.n--;
    return v;
}

static int read_header_line(pst_view_t line, sim_http_req_t *req)
{
    const char *colon = memchr(line.p, ':', line.n);
    if (!colon)
        return 400;
    pst_view_t name = pst_view(line.p, (size_t)(colon - line.p));
    if (!all_token(name)) /* also folded lines and blanks before the colon */
        return 400;
    pst_view_t value = trim(pst_view(colon + 1, line.n - name.n - 1));
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return 400;
    }
    if (req->headers == SIM_HTTP_HEADERS_MAX)
        return 431;
    req->header[req->headers++] = (sim_http_header_t){name, value};
    return 0;
}

/* head: all of it, with the empty line. */
static int read_head(pst_view_t head, sim_http_req_t *req)
{
    memset(req, 0, offsetof(sim_http_req_t, header));
    req->headers = 0;
    const char *p = head.p, *end = head.p + head.n - 2;
    bool first = true;
    while (p < end) {
        const char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf || lf == p || lf[-1] != '\r')
            return 400;
        pst_view_t line = pst_view(p, (size_t)(lf - 1 - p));
        int status = first ? read_request_line(line, req) : read_header_line(line, req);
        if (status)
            return status;
        first = false;
        p = lf + 1;
    }
    return first ? 400 : 0;
}

static bool read_length(pst_view_t v, uint64_t *ret)
{
    if (v.n == 0 || v.n > 18)
        return false;
    uint64_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(v.p[i] - '0');
    }
    *ret = n;
    return true;
}

static bool has_word(pst_view_t list, const char *word)
{
    while (list.n) {
        const char *comma = memchr(list.p, ',', list.n);
        size_t n = comma ? (size_t)(comma - list.p) : list.n;
        if (is_named(trim(pst_view(list.p, n)), word))
            return true;
        size_t skip = comma ? n + 1 : n;
        list = pst_view(list.p + skip, list.n - skip);
    }
    return false;
}

/* How the body is delimited, and whether the connection outlives it.  0 or the status to refuse. */
static int read_framing(sim_http_t *h, sim_http_req_t *req)
{
    pst_view_t connection = sim_http_header(req, "connection");
    req->keep_alive =
        req->minor == 1 ? !has_word(connection, "close") : has_word(connection, "keep-alive");
    unsigned hosts = count_named(req, "host");
    if (hosts > 1 || (hosts == 0 && req->minor == 1))
        return 400;
    pst_view_t expect = sim_http_header(req, "expect");
    if (expect.p && !is_named(expect, "100-continue"))
        return 417;
    unsigned lengths = count_named(req, "content-length");
    pst_view_t encoding = sim_http_header(req, "transfer-encoding");
    if (lengths > 1 || (lengths && encoding.p))
        return 400;
    if (encoding.p) {
        if (count_named(req, "transfer-encoding") > 1 || !is_named(encoding, "chunked"))
            return 501;
        if (req->minor == 0)
            return 400;
        h->phase = SIM_HTTP_CHUNK_SIZE;
    } else {
        uint64_t n = 0;
        if (lengths && !read_length(sim_http_header(req, "content-length"), &n))
            return 400;
        if (n > SIM_HTTP_BODY_BYTES_MAX)
            return 413;
        h->left = n;
        h->phase = n ? SIM_HTTP_LENGTH : SIM_HTTP_DONE;
    }
    h->continue_due = expect.p && h->phase != SIM_HTTP_DONE && req->minor == 1;
    return 0;
}

/* The next line of chunk framing; false if its end has not come.  *ret_bad: too long or no CRLF. */
static bool take_line(sim_http_t *h, const char *buf, size_t n, pst_view_t *ret, bool *ret_bad)
{
    enum { LINE_BYTES_MAX = 4096 };
    size_t window = PST_MIN(n - h->at, (size_t)LINE_BYTES_MAX);
    const char *lf = window ? memchr(buf + h->at, '\n', window) : NULL;
    *ret_bad = lf ? lf == buf + h->at || lf[-1] != '\r' : window == LINE_BYTES_MAX;
    if (!lf || *ret_bad)
        return false;
    *ret = pst_view(buf + h->at, (size_t)(lf - 1 - (buf + h->at)));
    h->at += ret->n + 2;
    return true;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* 0 or the status to refuse with. */
static int read_chunk_size(sim_http_t *h, pst_view_t line)
{
    uint64_t size = 0;
    size_t i = 0;
    for (; i < line.n && hex_digit(line.p[i]) >= 0; i++) {
        size = size * 16 + (uint64_t)hex_digit(line.p[i]);
        if (size > SIM_HTTP_BODY_BYTES_MAX)
            return 413;
    }
    if (i == 0 || (i < line.n && line.p[i] != ';'))
        return 400;
    if (h->body_n + size > SIM_HTTP_BODY_BYTES_MAX)
        return 413;
    h->left = size;
    h->phase = size ? SIM_HTTP_CHUNK_DATA : SIM_HTTP_TRAILER;
    return 0;
}

static void take_data(sim_http_t *h, char *buf, size_t n)
{
    size_t take = (size_t)PST_MIN(h->left, (uint64_t)(n - h->at));
    char *to = buf + h->head_n + h->body_n;
    if (to != buf + h->at && take)
        memmove(to, buf + h->at, take);
    h->at += take;
    h->body_n += take;
    h->left -= take;
}

/* The end of a chunk; anything else there shows at its first byte. */
static bool take_crlf(sim_http_t *h, const char *buf, size_t n, int *ret_status)
{
    size_t have = PST_MIN(n - h->at, (size_t)2);
    *ret_status = have && memcmp(buf + h->at, "\r\n", have) != 0 ? 400 : 0;
    if (*ret_status || have < 2)
        return false;
    h->at += 2;
    h->phase = SIM_HTTP_CHUNK_SIZE;
    return true;
}

/* One step of the body; false if it needs more bytes or *ret_status says what is wrong. */
static bool step_body(sim_http_t *h, char *buf, size_t n, int *ret_status)
{
    pst_view_t line;
    bool bad = false;
    switch (h->phase) {
    case SIM_HTTP_LENGTH:
    case SIM_HTTP_CHUNK_DATA:
        take_data(h, buf, n);
        if (h->left)
            return false;
        h->phase = h->phase == SIM_HTTP_LENGTH ? SIM_HTTP_DONE : SIM_HTTP_CHUNK_END;
        return true;
    case SIM_HTTP_CHUNK_END:
        return take_crlf(h, buf, n, ret_status);
    case SIM_HTTP_CHUNK_SIZE:
    case SIM_HTTP_TRAILER:
        if (!take_line(h, buf, n, &line, &bad)) {
            *ret_status = bad ? 400 : 0;
            return false;
        }
        if (h->phase == SIM_HTTP_CHUNK_SIZE)
            *ret_status = read_chunk_size(h, line);
        else if (line.n == 0)
            h->phase = SIM_HTTP_DONE;
        else
            *ret_status = memchr(line.p, ':', line.n) ? 0 : 400;
        return *ret_status == 0;
    case SIM_HTTP_HEAD:
    case SIM_HTTP_DONE:
        break;
    }
    return false;
}

/* Something other than a request shows at its first line; there may never be an end of the head. */
static int check_first_line(const char *buf, size_t n, sim_http_req_t *req)
{
    const char *lf = memchr(buf, '\n', n);
    if (!lf)
        return 0;
    if (lf == buf || lf[-1] != '\r')
        return 400;
    return read_request_line(pst_view(buf, (size_t)(lf - 1 - buf)), req);
}

/* Finds the end of the head and reads it.  False: *ret_status, or more bytes are needed if 0. */
static bool step_head(sim_http_t *h, const char *buf, size_t n, sim_http_req_t *req,
                      int *ret_status)
{
    size_t window = PST_MIN(n, SIM_HTTP_HEAD_BYTES_MAX);
    size_t from = h->at > 3 ? h->at - 3 : 0;
    const char *end = window > from ? memmem(buf + from, window - from, "\r\n\r\n", 4) : NULL;
    if (!end) {
        h->at = window;
        *ret_status = window == SIM_HTTP_HEAD_BYTES_MAX ? 431 : check_first_line(buf, window, req);
        return false;
    }
    h->head_n = (size_t)(end - buf) + 4;
    h->at = h->head_n;
    *ret_status = read_head(pst_view(buf, h->head_n), req);
    if (*ret_status == 0)
        *ret_status = read_framing(h, req);
    return *ret_status == 0;
}

sim_http_result_t sim_http_read(sim_http_t *h, char *buf, size_t n, sim_http_req_t *req,
                                int *ret_status)
{
    *ret_status = 0;
    bool fresh = h->phase == SIM_HTTP_HEAD;
    if (fresh && !step_head(h, buf, n, req, ret_status))
        return *ret_status ? SIM_HTTP_BAD : SIM_HTTP_MORE;
    while (h->phase != SIM_HTTP_DONE) {
        /* The buffer keeps what frames the chunks until the request is whole. */
        if (h->at > RAW_BYTES_MAX) {
            *ret_status = 413;
            return SIM_HTTP_BAD;
        }
        if (!step_body(h, buf, n, ret_status))
            return *ret_status ? SIM_HTTP_BAD : SIM_HTTP_MORE;
    }
    if (!fresh) { /* the buffer may have moved since the head was read */
        sim_http_t again = {0};
        int status = read_head(pst_view(buf, h->head_n), req);
        PST_ASSERT(status == 0 && read_framing(&again, req) == 0);
    }
    req->body = pst_view(buf + h->head_n, h->body_n);
    return SIM_HTTP_READY;
}

const char *sim_http_reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {529, "Overloaded"},
    };
    for (size_t i = 0; i < PST_COUNT(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Unknown";
}

size_t sim_http_unescape(pst_view_t v, bool query, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < v.n; i++) {
        char c = v.p[i];
        if (c == '%' && i + 2 < v.n && hex_digit(v.p[i + 1]) >= 0 && hex_digit(v.p[i + 2]) >= 0) {
            c = (char)(hex_digit(v.p[i + 1]) * 16 + hex_digit(v.p[i + 2]));
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        out[n++] = c;
    }
    return n;
}
