#include "gateway/web.h"

#include <ctype.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "proc/clock.h"
#include "proc/log.h"

#define IDLE (75 * PST_SEC)          /* SDKs' pools let go after 60 s or less */
#define SILENT (120 * PST_SEC)
#define PACE_OVER (20 * PST_SEC)
#define BODY_BYTES_PER_S 1024u       /* a dial-up line */
#define CONNECTION_BYTES (16u << 10) /* headers, and pieces of bodies: more headers are 431 */
#define BODIES_BYTES_MAX ((size_t)256 << 20) /* of all that are gathered, or kept by handlers, at a time */
#define BODY_BYTES_LITTLE (64u << 10) /* is taken even then */
#define ANSWER_HEADERS_MAX 8
#define ALLOWED_MAX 64               /* "GET, DELETE" */
#define PULL_BYTES (64u << 10)
#define FORM_BYTES (64u << 10)
#define SWEEP_EVERY PST_SEC
#define DROPPED_BYTES_MAX ((uint64_t)64 << 20) /* of a body whose answer was there before it */
#define DROPPED_BYTES_MUTE ((uint64_t)1 << 20) /* of one that is longer: then its answer is said in between */
#define DESCRIPTORS_KEPT 256u        /* for Redis, the broker, callbacks, files */

/* One connection. */
typedef struct conn {
    pst_link_t link;     /* in web.idle while it has no request: the longest first */
    pst_ns_t idle_since;
    int fd;
} conn_t;

typedef struct web_req {
    pst_req_t r;         /* first: what handlers see */
    pst_web_t *web;
    struct MHD_Connection *mhd;
    conn_t *conn;
    pst_link_t link;     /* in web.requests */
    const char *method, *path;
    char *path_copy;     /* segments point into it */
    bool head;
    bool ended;          /* end() was called */
    bool suspended, paused;
    bool answered;       /* there is an answer */
    bool queued;         /* and libmicrohttpd has it */
    bool cut;            /* the client has gone while it was suspended, or sends too much */
    bool unclear;        /* where it ends */
    bool told;           /* the answer went out past libmicrohttpd */
    uint64_t body_bytes, dropped_bytes;
    pst_ns_t pace_at;    /* the body's pace is measured from here, and from so many bytes */
    uint64_t pace_bytes;
    size_t gathered;     /* counted in web.bodies_bytes */
    struct MHD_Response *response;
    pst_view_t text;     /* of a whole answer: in response */
    const char *type;
    unsigned status;
    struct {
        const char *name;
        char *value;
    } header[ANSWER_HEADERS_MAX];
    unsigned headers;
    pst_pull_fn *pull;
} web_req_t;

struct pst_web {
    pst_loop_t *loop;
    pst_web_opts_t opts;
    struct MHD_Daemon *mhd;
    int epoll_fd;
    bool run;            /* libmicrohttpd has work that its descriptor does not tell of */
    bool closing, quiet;
    pst_link_t idle, requests;
    uint32_t connections, requests_n;
    uint32_t crowded;    /* with more connections the longest idle makes room for each that comes */
    size_t bodies_bytes;
    uint64_t body_bytes; /* of all requests, since it began */
    pst_ns_t sweep_at;
    unsigned port;
};

static web_req_t *of(const pst_req_t *r)
{
    return PST_CONTAINER(r, web_req_t, r);
}

/* Suspending. */

static void suspend(web_req_t *q)
{
    if (q->suspended)
        return;
    MHD_suspend_connection(q->mhd);
    q->suspended = true;
}

static void resume(web_req_t *q)
{
    if (!q->suspended)
        return;
    q->suspended = false;
    MHD_resume_connection(q->mhd);
    q->web->run = true;
}

void pst_req_pause(pst_req_t *r)
{
    of(r)->paused = true;
}

void pst_req_go_on(pst_req_t *r)
{
    of(r)->paused = false;
    resume(of(r));
}

/* Answers. */

void pst_req_answer_header(pst_req_t *r, const char *name, const char *value)
{
    web_req_t *q = of(r);
    if (q->answered || q->headers == ANSWER_HEADERS_MAX)
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
    resume(q);
}

void pst_req_reply(pst_req_t *r, unsigned status, const char *type, pst_buf_t *body)
{
    web_req_t *q = of(r);
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
    return of(r)->answered;
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
    web_req_t *q = of(r);
    if (q->answered)
        return;
    q->pull = pull;
    uint64_t size = length == UINT64_MAX ? MHD_SIZE_UNKNOWN : length;
    answer(q, status, type, MHD_create_response_from_callback(size, PULL_BYTES, pull_part, q, NULL));
}

void pst_req_wake(pst_req_t *r)
{
    web_req_t *q = of(r);
    if (q->queued)
        resume(q);
}

void pst_req_cut(pst_req_t *r)
{
    web_req_t *q = of(r);
    q->cut = true;
    if (q->conn)
        shutdown(q->conn->fd, SHUT_RDWR);
    resume(q);
}

/* Requests. */

const char *pst_req_method(const pst_req_t *r) { return of(r)->method; }
const char *pst_req_path(const pst_req_t *r) { return of(r)->path; }

const char *pst_req_header(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(of(r)->mhd, MHD_HEADER_KIND, name);
}

const char *pst_req_cookie(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(of(r)->mhd, MHD_COOKIE_KIND, name);
}

const char *pst_req_query(const pst_req_t *r, const char *name)
{
    return MHD_lookup_connection_value(of(r)->mhd, MHD_GET_ARGUMENT_KIND, name);
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
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(of(r)->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
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
    uint8_t random[10];
    pst_random(random, sizeof random);
    r->uid = pst_id_make(pst_clock_wall_ms(), random);
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
    web_req_t *q = of(r);
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

static enum MHD_Result on_request(void *arg, struct MHD_Connection *mhd, const char *path, const char *method,
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

static void on_completed(void *arg, struct MHD_Connection *mhd, void **state, enum MHD_RequestTerminationCode why)
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

/* Connections. */

/* libmicrohttpd finds a socket that was shut down at its next look. */
static void cut(conn_t *c)
{
    pst_link_remove(&c->link);
    shutdown(c->fd, SHUT_RDWR);
}

static void on_connection(void *arg, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode what)
{
    pst_web_t *w = arg;
    conn_t *c = *context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (c) {
            pst_link_remove(&c->link);
            w->connections--;
        }
        free(c);
        *context = NULL;
        return;
    }
    c = calloc(1, sizeof *c);
    if (!c)
        return;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    c->fd = info ? info->connect_fd : -1;
    c->idle_since = pst_loop_now(w->loop);
    pst_link_init(&c->link);
    pst_link_before(&w->idle, &c->link);
    w->connections++;
    *context = c;
    if (w->connections > w->crowded && w->idle.next != &c->link)
        cut(PST_CONTAINER(w->idle.next, conn_t, link));
}

static bool has_hung_up(const conn_t *c)
{
    char byte;
    return c && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* libmicrohttpd is told of the end of a connection by an edge, and misses one that came together with the last bytes: the
 * connections that became idle a moment ago are looked at once or twice. */
static void look_at_newly_idle(pst_web_t *w, pst_ns_t now)
{
    for (pst_link_t *l = w->idle.prev, *before; l != &w->idle; l = before) {
        before = l->prev;
        conn_t *c = PST_CONTAINER(l, conn_t, link);
        if (pst_ns_since(now, c->idle_since) > 2 * SWEEP_EVERY)
            return;
        if (has_hung_up(c))
            cut(c);
    }
}

static void cut_idle(pst_web_t *w, pst_ns_t now)
{
    while (!pst_link_empty(&w->idle)) {
        conn_t *c = PST_CONTAINER(w->idle.next, conn_t, link);
        if (pst_ns_since(now, c->idle_since) < w->opts.idle)
            return;
        cut(c);
    }
}

/* Measured over one stretch after another: who began fast may not dribble later.  A body that we do not read is not slow. */
static bool is_too_slow(web_req_t *q, pst_ns_t now)
{
    const pst_web_opts_t *o = &q->web->opts;
    pst_ns_t took = pst_ns_since(now, q->pace_at);
    bool waits = !q->ended && !q->queued && !q->paused;
    if (waits && took < o->pace_over)
        return false;
    bool slow = waits && q->body_bytes - q->pace_bytes < took * BODY_BYTES_PER_S / PST_SEC;
    q->pace_at = now;
    q->pace_bytes = q->body_bytes;
    return slow;
}

/* The same for those with a request; and nobody else looks at a suspended connection. */
static void look_at_requests(pst_web_t *w, pst_ns_t now)
{
    for (pst_link_t *l = w->requests.next, *next; l != &w->requests; l = next) {
        next = l->next;
        web_req_t *q = PST_CONTAINER(l, web_req_t, link);
        bool waits = (q->suspended || (!q->ended && !q->queued)) && pst_ns_since(now, q->r.began) > SWEEP_EVERY;
        bool gone = waits && has_hung_up(q->conn);
        if (gone && q->suspended) {
            q->cut = true;
            resume(q);
        } else if ((gone || is_too_slow(q, now)) && q->conn) {
            shutdown(q->conn->fd, SHUT_RDWR);
        }
    }
}

/* The loop. */

static pst_ns_t prepare(void *arg, pst_ns_t now)
{
    pst_web_t *w = arg;
    if (now >= w->sweep_at) {
        w->sweep_at = pst_ns_add(now, SWEEP_EVERY);
        cut_idle(w, now);
        look_at_newly_idle(w, now);
        look_at_requests(w, now);
    }
    MHD_UNSIGNED_LONG_LONG wait = 0;
    bool timed = MHD_get_timeout(w->mhd, &wait) == MHD_YES;
    if (w->run || (timed && wait == 0)) {
        w->run = false;
        MHD_run(w->mhd);
        timed = MHD_get_timeout(w->mhd, &wait) == MHD_YES;
    }
    if (w->run || (timed && wait == 0))
        return 0;
    return timed ? pst_ns_min(w->sweep_at, pst_ns_add(now, wait * PST_MS)) : w->sweep_at;
}

static void on_ready(void *arg, int fd, uint32_t events)
{
    (void)fd;
    (void)events;
    pst_web_t *w = arg;
    w->run = true;
}

/* Listening. */

static pst_err_t resolve(const char *listen, struct sockaddr_storage *ret, socklen_t *ret_n, pst_errbuf_t *eb)
{
    const char *colon = strrchr(listen, ':');
    if (!colon || colon == listen)
        return pst_errf(eb, PST_E_INVALID, "\"%s\" is no address to listen at: write HOST:PORT", listen);
    char host[256];
    bool bracketed = listen[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen - 2 * bracketed), listen + bracketed);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    int bad = getaddrinfo(host, colon + 1, &hints, &found);
    if (bad)
        return pst_errf(eb, PST_E_INVALID, "\"%s\" is no address to listen at: %s", listen, gai_strerror(bad));
    memcpy(ret, found->ai_addr, found->ai_addrlen);
    *ret_n = found->ai_addrlen;
    freeaddrinfo(found);
    return PST_OK;
}

/* As many descriptors as the system allows: each connection has one.  How many connections there may be. */
static uint32_t raise_descriptors(uint32_t wanted)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r))
        return wanted;
    if (r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
    rlim_t room = r.rlim_cur > 2 * DESCRIPTORS_KEPT ? r.rlim_cur - DESCRIPTORS_KEPT : r.rlim_cur / 2;
    return (uint32_t)PST_MIN(room, wanted);
}

static int listen_at(const char *text, pst_errbuf_t *eb, unsigned *ret_port)
{
    struct sockaddr_storage at;
    socklen_t n;
    if (resolve(text, &at, &n, eb))
        return -1;
    int on = 1;
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) || listen(fd, 1024)) {
        (void)pst_errf(eb, PST_E_IO, "cannot listen at %s: %s", text, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    n = sizeof at;
    getsockname(fd, (struct sockaddr *)&at, &n);
    *ret_port = ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                               : ((struct sockaddr_in *)&at)->sin_port);
    return fd;
}

static void on_mhd_log(void *arg, const char *format, va_list args)
{
    (void)arg;
    char text[256];
    vsnprintf(text, sizeof text, format, args);
    text[strcspn(text, "\n")] = '\0';
    pst_log(PST_LOG_DEBUG, "HTTP", "text=\"%s\"", text);
}

/* "%00" stays as it is: decoded, it would end the text before its end. */
static size_t unescape(void *arg, struct MHD_Connection *mhd, char *text)
{
    (void)arg;
    (void)mhd;
    char *to = text;
    for (const char *p = text; *p;) {
        unsigned byte = 0;
        char digits[3] = "";
        if (p[0] == '%' && isxdigit((unsigned char)p[1]) && isxdigit((unsigned char)p[2])) {
            memcpy(digits, p + 1, 2);
            byte = (unsigned)strtoul(digits, NULL, 16);
        }
        *to++ = byte ? (char)byte : *p;
        p += byte ? 3 : 1;
    }
    *to = '\0';
    return (size_t)(to - text);
}

static void choose_patience(pst_web_opts_t *o)
{
    o->idle = o->idle ? o->idle : IDLE;
    o->silent = o->silent ? o->silent : SILENT;
    o->pace_over = o->pace_over ? o->pace_over : PACE_OVER;
}

pst_err_t pst_web_new(pst_loop_t *loop, const pst_web_opts_t *o, pst_web_t **ret, pst_errbuf_t *eb)
{
    uint32_t connections_max = raise_descriptors(o->connections_max);
    pst_web_t *w = calloc(1, sizeof *w);
    if (!w)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    w->loop = loop;
    w->opts = *o;
    w->crowded = connections_max - connections_max / 8;
    choose_patience(&w->opts);
    pst_link_init(&w->idle);
    pst_link_init(&w->requests);
    int fd = listen_at(o->listen, eb, &w->port);
    if (fd < 0) {
        free(w);
        return PST_E_IO;
    }
    w->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, w,
                              MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL,
                              MHD_OPTION_LISTEN_SOCKET, fd,
                              MHD_OPTION_CONNECTION_LIMIT, connections_max,
                              MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(w->opts.silent / PST_SEC),
                              MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, unescape, NULL,
                              MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES,
                              MHD_OPTION_NOTIFY_COMPLETED, on_completed, w,
                              MHD_OPTION_NOTIFY_CONNECTION, on_connection, w, MHD_OPTION_END);
    const union MHD_DaemonInfo *info = w->mhd ? MHD_get_daemon_info(w->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info) {
        if (!w->mhd)
            close(fd);
        pst_web_destroy(&w);
        return pst_errf(eb, PST_E_IO, "libmicrohttpd does not start at %s", o->listen);
    }
    w->epoll_fd = info->listen_fd;
    pst_loop_fd(loop, w->epoll_fd, EPOLLIN, on_ready, w);
    pst_loop_prepare(loop, prepare, w);
    *ret = w;
    return PST_OK;
}

void pst_web_quiesce(pst_web_t *w)
{
    if (w->quiet)
        return;
    w->quiet = true;
    int fd = MHD_quiesce_daemon(w->mhd);
    if (fd >= 0)
        close(fd);
}

void pst_web_destroy(pst_web_t **pw)
{
    pst_web_t *w = *pw;
    *pw = NULL;
    if (!w)
        return;
    w->closing = true;
    for (pst_link_t *l = w->requests.next; l != &w->requests; l = l->next) {
        web_req_t *q = PST_CONTAINER(l, web_req_t, link);
        q->cut = true;
        resume(q);
    }
    if (w->mhd) {
        if (w->epoll_fd > 0)
            pst_loop_fd_remove(w->loop, w->epoll_fd);
        MHD_run(w->mhd);
        MHD_stop_daemon(w->mhd);
    }
    free(w);
}

bool pst_web_is_due(const pst_web_t *w) { return w->run; }
uint32_t pst_web_connections(const pst_web_t *w) { return w->connections; }
uint32_t pst_web_requests(const pst_web_t *w) { return w->requests_n; }
uint64_t pst_web_body_bytes(const pst_web_t *w) { return w->body_bytes; }
unsigned pst_web_port(const pst_web_t *w) { return w->port; }

/* Forms. */

struct pst_form {
    struct MHD_PostProcessor *post;
    pst_form_fn *fn;
    void *arg;
};

static enum MHD_Result on_field(void *arg, enum MHD_ValueKind kind, const char *key, const char *file, const char *type,
                                const char *encoding, const char *data, uint64_t at, size_t n)
{
    (void)kind;
    (void)type;
    (void)encoding;
    pst_form_t *f = arg;
    f->fn(f->arg, key ? key : "", file, pst_view(data, n), at == 0);
    return MHD_YES;
}

pst_form_t *pst_form_new(pst_req_t *r, pst_form_fn *fn, void *arg)
{
    const char *type = pst_req_header(r, MHD_HTTP_HEADER_CONTENT_TYPE);
    if (!type || strncasecmp(type, "multipart/form-data", 19) != 0)
        return NULL;
    pst_form_t *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->fn = fn;
    f->arg = arg;
    f->post = MHD_create_post_processor(of(r)->mhd, FORM_BYTES, on_field, f);
    if (!f->post)
        (void)pst_form_end(&f);
    return f;
}

bool pst_form_feed(pst_form_t *f, pst_view_t bytes)
{
    return MHD_post_process(f->post, bytes.p, bytes.n) == MHD_YES;
}

bool pst_form_end(pst_form_t **pf)
{
    pst_form_t *f = *pf;
    *pf = NULL;
    if (!f)
        return false;
    bool whole = f->post && MHD_destroy_post_processor(f->post) == MHD_YES;
    free(f);
    return whole;
}
