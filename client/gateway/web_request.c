/* web_request.c - one request: read, handed to its handler, answered. */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "gateway/web_inside.h"
#include "proc/clock.h"

#define BODIES_BYTES_MAX ((size_t)256 << 20) /* of all that are gathered, or kept by handlers, at a time */
#define BODY_BYTES_LITTLE (64u << 10) /* is taken even then */
#define ALLOWED_MAX 64               /* "GET, DELETE" */
#define PULL_BYTES (64u << 10)
#define DROPPED_BYTES_MAX ((uint64_t)64 << 20) /* of a body whose answer was there before it */
#define DROPPED_BYTES_MUTE ((uint64_t)1 << 20) /* of one that is longer: then its answer is said in between */

/* Suspending. */

static void suspend(web_req_t *q)
{
    if (q->suspended)
        return;
    MHD_suspend_connection(q->mhd);
    q->suspended = true;
}

void pst_web_resume(web_req_t *q)
{
    if (!q->suspended)
        return;
    q->suspended = false;
    MHD_resume_connection(q->mhd);
    q->web->run = true;
}

void pst_req_pause(pst_req_t *r)
{
    pst_web_req(r)->paused = true;
}

void pst_req_go_on(pst_req_t *r)
{
    pst_web_req(r)->paused = false;
    pst_web_resume(pst_web_req(r));
}

/* Answers. */

void pst_req_answer_header(pst_req_t *r, const char *name, const char *value)
{
    web_req_t *q = pst_web_req(r);
    if (q->answered || q->headers == PST_ANSWER_HEADERS_MAX)
        return;
    char *copy = strdup(value);
    if (!copy)
        return;
    q->header[q->headers].name = name;
    q->header[q->headers++].value = copy;
}

static void put_headers(web_req_t *q, const char *type)
{
    if (type)
        MHD_add_response_header(q->response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(q->response, "x-request-id", q->r.id);
    if (q->r.dialect == PST_DIALECT_ANTHROPIC)
        MHD_add_response_header(q->response, "request-id", q->r.id);
    MHD_add_response_header(q->response, "x-content-type-options", "nosniff");
    for (unsigned i = 0; i < q->headers; i++)
        MHD_add_response_header(q->response, q->header[i].name, q->header[i].value);
}

static void answer(web_req_t *q, unsigned status, const char *type, struct MHD_Response *response)
{
    q->response = response;
    q->answered = true;
    q->status = status;
    q->type = type;
    if (response)
        put_headers(q, type);
    pst_web_resume(q);
}

void pst_req_reply(pst_req_t *r, unsigned status, const char *type, pst_buf_t *body)
{
    web_req_t *q = pst_web_req(r);
    size_t n = body->n;
    if (q->answered) {
        pst_buf_release(body);
        return;
    }
    char *text = n ? pst_buf_detach(body, &n) : NULL;
    pst_buf_release(body);
    struct MHD_Response *response = MHD_create_response_from_buffer(n, text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(text);
    else
        q->text = pst_view(text, n);
    answer(q, status, type, response);
}

bool pst_req_is_answered(const pst_req_t *r)
{
    return pst_web_req(r)->answered;
}

/* A pull that has nothing suspends: libmicrohttpd would ask again and again. */
static ssize_t pull_part(void *arg, uint64_t at, char *to, size_t room)
{
    (void)at;
    web_req_t *q = arg;
    if (q->cut)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    ptrdiff_t n = q->pull(&q->r, to, room);
    if (n == PST_PULL_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (n == PST_PULL_CUT)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n == PST_PULL_WAIT)
        suspend(q);
    return (ssize_t)n;
}

void pst_req_stream(pst_req_t *r, unsigned status, const char *type, uint64_t length, pst_pull_fn *pull)
{
    web_req_t *q = pst_web_req(r);
    if (q->answered)
        return;
    q->pull = pull;
    uint64_t size = length == UINT64_MAX ? MHD_SIZE_UNKNOWN : length;
    answer(q, status, type, MHD_create_response_from_callback(size, PULL_BYTES, pull_part, q, NULL));
}

void pst_req_wake(pst_req_t *r)
{
    web_req_t *q = pst_web_req(r);
    if (q->queued)
        pst_web_resume(q);
}

void pst_req_cut(pst_req_t *r)
{
    web_req_t *q = pst_web_req(r);
    q->cut = true;
    if (q->conn)
        shutdown(q->conn->fd, SHUT_RDWR);
    pst_web_resume(q);
}

/* Requests. */

const char *pst_req_method(const pst_req_t *r) { return pst_web_req(r)->method; }
const char *pst_req_path(const pst_req_t *r) { return pst_web_req(r)->path; }

const char *pst_req_header(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(pst_web_req(r)->mhd, MHD_HEADER_KIND, name);
}

const char *pst_req_cookie(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(pst_web_req(r)->mhd, MHD_COOKIE_KIND, name);
}

const char *pst_req_query(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(pst_web_req(r)->mhd, MHD_GET_ARGUMENT_KIND, name);
}

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    if (a->sa_family != AF_INET6)
        return false;
    const struct in6_addr *x = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(x) || (IN6_IS_ADDR_V4MAPPED(x) && x->s6_addr[12] == 127);
}

bool pst_req_is_local(const pst_req_t *r)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(pst_web_req(r)->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    bool proxied = pst_req_header(r, "x-forwarded-for") || pst_req_header(r, "forwarded") || pst_req_header(r, "via");
    return info && !proxied && is_loopback(info->client_addr);
}

uint64_t pst_req_length(const pst_req_t *r)
{
    const char *text = pst_req_header(r, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!text || *text < '0' || *text > '9')
        return UINT64_MAX;
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    return *end || errno ? UINT64_MAX : n;
}

/* {…} takes one segment.  The path is a copy of the request's own, cut at the slashes that end segments. */
static bool path_fits(const char *pattern, char *path, pst_view_t *segment, unsigned max)
{
    unsigned n = 0;
    while (*pattern && *path) {
        if (*pattern == '{') {
            size_t length = strcspn(path, "/");
            if (length == 0 || n == max)
                return false;
            segment[n++] = pst_view(path, length);
            path += length;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return !*pattern && !*path;
}

static void end_segments(pst_req_t *r, char *path)
{
    for (size_t i = 0; i < PST_COUNT(r->segment); i++) {
        if (r->segment[i].p)
            path[(size_t)(r->segment[i].p - path) + r->segment[i].n] = '\0';
    }
}

/* allowed: the methods of the path's handlers, if it has any but not for this one. */
static const pst_handler_t *match(web_req_t *q, char *path, char allowed[ALLOWED_MAX])
{
    const pst_web_opts_t *o = &q->web->opts;
    for (size_t i = 0; i < o->handlers_n; i++) {
        const pst_handler_t *h = &o->handlers[i];
        memset(q->r.segment, 0, sizeof q->r.segment);
        if (!path_fits(h->path, path, q->r.segment, PST_COUNT(q->r.segment)))
            continue;
        size_t n = strlen(allowed);
        snprintf(allowed + n, ALLOWED_MAX - n, "%s%s", n ? ", " : "", h->method);
        if (strcmp(h->method, q->method) == 0 || (q->head && strcmp(h->method, "GET") == 0)) {
            end_segments(&q->r, path);
            return h;
        }
    }
    return NULL;
}

#define API "/api"

static void find_handler(web_req_t *q, char allowed[ALLOWED_MAX])
{
    q->r.handler = match(q, q->path_copy, allowed);
    bool of_api = strncmp(q->path_copy, API "/v1/", sizeof API "/v1/" - 1) == 0;
    if (!q->r.handler && of_api)
        q->r.handler = match(q, q->path_copy + sizeof API - 1, allowed);
    if (q->r.handler && (!of_api || q->r.handler->dialect == PST_DIALECT_ANTHROPIC))
        q->r.dialect = q->r.handler->dialect;
}

static pst_dialect_t dialect_of(const char *path)
{
    if (strncmp(path, "/api/", 5) == 0)
        return PST_DIALECT_OPENROUTER;
    return strncmp(path, "/v1/messages", 12) == 0 ? PST_DIALECT_ANTHROPIC : PST_DIALECT_OPENAI;
}

static void make_id(pst_req_t *r)
{
    r->uid = pst_id_new();
    char text[PST_BATCH_TEXT_LEN + 1];
    pst_id_text(&r->uid, text);
    snprintf(r->id, sizeof r->id, "req_%s", text + sizeof "batch_" - 1);
}

static web_req_t *new_request(pst_web_t *w, struct MHD_Connection *mhd, const char *method, const char *path)
{
    web_req_t *q = calloc(1, sizeof *q);
    char *copy = strdup(path);
    if (!q || !copy) {
        free(q);
        free(copy);
        return NULL;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    q->web = w;
    q->mhd = mhd;
    q->conn = info ? info->socket_context : NULL;
    q->method = method;
    q->path = path;
    q->path_copy = copy;
    q->head = strcmp(method, "HEAD") == 0;
    q->r.app = w->opts.app;
    q->r.began = q->pace_at = pst_loop_now(w->loop);
    q->r.dialect = dialect_of(path);
    pst_buf_init(&q->r.body, 0);
    make_id(&q->r);
    pst_link_init(&q->link);
    pst_link_before(&w->requests, &q->link);
    w->requests_n++;
    if (q->conn)
        pst_link_remove(&q->conn->link);
    return q;
}

static void fail(web_req_t *q, unsigned status, const char *message)
{
    q->web->opts.fail(&q->r, status, message);
}

static bool announces_too_much(web_req_t *q)
{
    uint64_t length = pst_req_length(&q->r);
    return q->r.handler->body_max != PST_BODY_STREAMED && length != UINT64_MAX && length > q->r.handler->body_max;
}

/* Where a request ends is told by one header, once: a proxy before us may believe another of two than we do, and what one takes
 * for a body is to the other the next request, of somebody else. */
typedef struct framing {
    unsigned lengths, encodings;
    bool wrong;
} framing_t;

static enum MHD_Result look_at_header(void *arg, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    framing_t *f = arg;
    f->wrong |= !*name || strpbrk(name, " \t") != NULL;
    f->lengths += strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0;
    if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        f->encodings++;
        f->wrong |= strcasecmp(value, "chunked") != 0;
    }
    return MHD_YES;
}

static bool is_unclear(const web_req_t *q)
{
    framing_t f = {0};
    MHD_get_connection_values(q->mhd, MHD_HEADER_KIND, look_at_header, &f);
    return f.wrong || f.lengths + f.encodings > 1;
}

static void begin_request(web_req_t *q)
{
    char allowed[ALLOWED_MAX] = "";
    q->unclear = is_unclear(q);
    if (q->unclear) {
        pst_req_answer_header(&q->r, MHD_HTTP_HEADER_CONNECTION, "close");
        fail(q, MHD_HTTP_BAD_REQUEST, "its headers do not say clearly where the request ends");
        return;
    }
    find_handler(q, allowed);
    if (!q->r.handler) {
        bool known = *allowed;
        if (known)
            pst_req_answer_header(&q->r, MHD_HTTP_HEADER_ALLOW, allowed);
        fail(q, known ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND,
             known ? "this path does not take that method" : "there is nothing at this path");
        return;
    }
    if (q->web->quiet) {
        pst_req_answer_header(&q->r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
        fail(q, MHD_HTTP_SERVICE_UNAVAILABLE, "the gateway is stopping: ask again");
    } else if (!q->r.handler->open && !q->web->opts.allow(&q->r)) {
        return;
    } else if (announces_too_much(q)) {
        fail(q, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than this path takes");
    } else if (q->r.handler->begin) {
        q->r.handler->begin(&q->r);
    }
}

/* Bodies. */

static void let_go_of_body(web_req_t *q)
{
    q->web->bodies_bytes -= q->gathered;
    q->gathered = 0;
    pst_buf_release(&q->r.body);
}

/* Who sends much does not keep out who sends little. */
static bool is_too_much(size_t all, size_t one)
{
    return all > BODIES_BYTES_MAX && one > BODY_BYTES_LITTLE;
}

static void refuse_for_now(web_req_t *q)
{
    pst_req_answer_header(&q->r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
    fail(q, MHD_HTTP_SERVICE_UNAVAILABLE, "too much is being uploaded at once: ask again");
}

bool pst_req_keeps(pst_req_t *r, size_t bytes)
{
    web_req_t *q = pst_web_req(r);
    pst_web_t *w = q->web;
    bool more = bytes > q->gathered;
    w->bodies_bytes = w->bodies_bytes - q->gathered + bytes;
    q->gathered = bytes;
    if (!more || !is_too_much(w->bodies_bytes, bytes))
        return true;
    refuse_for_now(q);
    return false;
}

static void gather(web_req_t *q, pst_view_t bytes)
{
    pst_web_t *w = q->web;
    if (q->r.body.n + bytes.n > q->r.handler->body_max) {
        fail(q, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than this path takes");
        return;
    }
    if (is_too_much(w->bodies_bytes + bytes.n, q->gathered + bytes.n)) {
        refuse_for_now(q);
        return;
    }
    w->bodies_bytes += bytes.n;
    q->gathered += bytes.n;
    pst_buf_putv(&q->r.body, bytes);
    if (q->r.body.failed)
        fail(q, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
}

/* A client that is still sending when its connection is closed loses the answer: an early one waits until the body was read, and
 * thrown away.  Who asks before it sends (Expect) is answered at once, and who has too much is cut. */
static bool has_body_to_drop(const web_req_t *q)
{
    uint64_t length = pst_req_length(&q->r);
    if (q->unclear || pst_req_header(&q->r, MHD_HTTP_HEADER_EXPECT))
        return false;
    if (length == UINT64_MAX)
        return pst_req_header(&q->r, MHD_HTTP_HEADER_TRANSFER_ENCODING);
    return length > 0 && length <= DROPPED_BYTES_MAX;
}

/* libmicrohttpd takes an answer before a body or behind it.  Whose body has no end in sight is told in between, past the
 * library: nothing else is being said on the connection, nor will be, and the client may still read it while it is drained. */
static bool tell(web_req_t *q)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_printf(&b, "HTTP/1.1 %u %s\r\nConnection: close\r\nContent-Length: %zu\r\nContent-Type: %s\r\nx-request-id: %s\r\n",
                   q->status, MHD_get_reason_phrase_for(q->status), q->text.n, q->type ? q->type : "text/plain", q->r.id);
    for (unsigned i = 0; i < q->headers; i++)
        pst_buf_printf(&b, "%s: %s\r\n", q->header[i].name, q->header[i].value);
    pst_buf_puts(&b, "\r\n");
    pst_buf_putv(&b, q->text);
    q->told = true;
    bool whole = !b.failed && send(q->conn->fd, b.p, b.n, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)b.n;
    pst_buf_release(&b);
    return whole && shutdown(q->conn->fd, SHUT_WR) == 0;
}

static void drop(web_req_t *q, size_t n)
{
    uint64_t length = pst_req_length(&q->r);
    bool endless = length == UINT64_MAX || length - q->body_bytes > DROPPED_BYTES_MAX;
    q->dropped_bytes += n;
    if (q->dropped_bytes > DROPPED_BYTES_MAX)
        q->cut = true;
    else if (endless && !q->told && q->dropped_bytes > DROPPED_BYTES_MUTE && q->conn && q->text.n > 0)
        q->cut = !tell(q);
}

/* Of a body that was refused nobody needs what was kept, and the rest of it may take long to come. */
static void let_go_early(web_req_t *q)
{
    let_go_of_body(q);
    if (!q->r.gone || q->pull)
        return;
    q->r.gone(&q->r);
    pst_req_state(&q->r, NULL, NULL);
}

static void take_body(web_req_t *q, pst_view_t bytes)
{
    q->body_bytes += bytes.n;
    q->web->body_bytes += bytes.n;
    if (q->answered) {
        drop(q, bytes.n);
        return;
    }
    if (q->r.handler->body_max == PST_BODY_STREAMED)
        q->r.handler->data(&q->r, bytes);
    else
        gather(q, bytes);
    if (q->answered)
        let_go_early(q);
    else if (q->paused)
        suspend(q);
}

static enum MHD_Result queue_answer(web_req_t *q)
{
    if (!q->response || q->cut || q->told)
        return MHD_NO; /* no memory, or all is said: the connection is cut */
    q->queued = true;
    return MHD_queue_response(q->mhd, q->status, q->response);
}

enum MHD_Result pst_web_on_request(void *arg, struct MHD_Connection *mhd, const char *path, const char *method,
                                   const char *version, const char *data, size_t *data_n, void **state)
{
    (void)version;
    web_req_t *q = *state;
    if (!q) {
        q = new_request(arg, mhd, method, path);
        if (!q)
            return MHD_NO;
        *state = q;
        begin_request(q);
        return q->answered && !has_body_to_drop(q) ? queue_answer(q) : MHD_YES;
    }
    if (q->cut)
        return MHD_NO;
    if (*data_n > 0) {
        take_body(q, pst_view(data, *data_n));
        *data_n = 0;
        return q->cut ? MHD_NO : MHD_YES;
    }
    if (!q->ended && !q->answered) {
        q->ended = true;
        q->r.handler->end(&q->r);
    }
    if (q->answered)
        return queue_answer(q);
    suspend(q);
    return MHD_YES;
}

void pst_web_on_completed(void *arg, struct MHD_Connection *mhd, void **state, enum MHD_RequestTerminationCode why)
{
    (void)mhd;
    pst_web_t *w = arg;
    web_req_t *q = *state;
    *state = NULL;
    if (!q)
        return;
    bool well = q->told || (q->queued && why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    if (q->r.handler)
        w->opts.done(&q->r, well ? q->status : 0, pst_ns_since(pst_loop_now(w->loop), q->r.began));
    q->answered = true; /* whoever still holds it answers nobody */
    q->suspended = false;
    if (q->r.gone)
        q->r.gone(&q->r);
    if (q->response)
        MHD_destroy_response(q->response);
    for (unsigned i = 0; i < q->headers; i++)
        free(q->header[i].value);
    pst_link_remove(&q->link);
    w->requests_n--;
    let_go_of_body(q);
    if (q->conn) {
        q->conn->idle_since = pst_loop_now(w->loop);
        pst_link_before(&w->idle, &q->conn->link);
    }
    free(q->path_copy);
    free(q);
}
