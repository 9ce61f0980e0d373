/* Calls over real sockets of this machine, against a server in a thread that does exactly what a test says. */
#include "unit.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/http.h"
#include "http/sigv4.h"
#include "proc/clock.h"

#define REQUESTS_MAX 8
#define WAIT_MS 10000

/* What the server does with one connection after the other: for each letter of `does`
 *   a  reads a request and sends the next answer
 *   s  reads a request and says nothing
 *   e  reads a request's headers alone and sends the next answer
 *   c  closes
 *   w  waits until the client closes
 *   d  reads until then
 *   g  waits until it is told to go on
 *   p  sends the next answer without a request */
typedef struct server {
    const char *const *does; /* a connection each */
    const char *const *answer;
    unsigned connections;
    int listener;
    uint16_t port;
    pthread_t thread;
    char *request[REQUESTS_MAX];
    size_t request_n[REQUESTS_MAX];
    unsigned requests, answers, accepted;
    bool closed_by_client;
    int go[2];       /* a pipe, for `g` */
} server_t;

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, WAIT_MS) == 1;
}

/* Headers, and as much of a body as they announce. */
static void read_request(server_t *s, int fd, bool whole)
{
    size_t cap = 1 << 20, n = 0, want = SIZE_MAX;
    char *p = malloc(cap);
    while (n < want && n < cap - 1 && readable(fd)) {
        ssize_t got = recv(fd, p + n, whole ? cap - 1 - n : 1, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
        p[n] = '\0';
        const char *end = strstr(p, "\r\n\r\n"), *length = strcasestr(p, "content-length: ");
        if (want == SIZE_MAX && end)
            want = (size_t)(end + 4 - p) + (whole && length && length < end ? strtoul(length + 16, NULL, 10) : 0);
    }
    if (n && s->requests < REQUESTS_MAX) {
        s->request[s->requests] = p;
        s->request_n[s->requests++] = n;
    } else {
        free(p);
    }
}

static void send_all(int fd, const char *text)
{
    size_t n = strlen(text);
    while (n) {
        ssize_t sent = send(fd, text, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        n -= (size_t)sent;
    }
}

/* Reads until the client is gone: to close with something unread would reset the connection, and lose the answer. */
static void drain(int fd)
{
    char some[4096];
    while (readable(fd) && recv(fd, some, sizeof some, 0) > 0)
        continue;
}

static void serve_one(server_t *s, int fd, const char *does)
{
    char c;
    for (; *does; does++) {
        if (*does == 'w')
            s->closed_by_client = readable(fd) && recv(fd, &c, 1, 0) <= 0;
        if (*does == 'a' || *does == 's' || *does == 'e')
            read_request(s, fd, *does != 'e');
        if (*does == 'g' && readable(s->go[0]))
            assert_int_equal(read(s->go[0], &c, 1), 1);
        if (*does == 'a' || *does == 'e' || *does == 'p')
            send_all(fd, s->answer[s->answers++]);
        if (*does == 'd')
            drain(fd);
    }
    close(fd);
}

static void *serve(void *arg)
{
    server_t *s = arg;
    for (unsigned i = 0; i < s->connections && readable(s->listener); i++) {
        int fd = accept(s->listener, NULL, NULL);
        if (fd < 0)
            break;
        s->accepted++;
        serve_one(s, fd, s->does[i]);
    }
    close(s->listener);
    return NULL;
}

static void server_start(server_t *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(s->listener, 16), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

/* When the server has done all it was to do. */
static void server_join(server_t *s)
{
    assert_int_equal(pthread_join(s->thread, NULL), 0);
}

static void server_release(server_t *s)
{
    for (unsigned i = 0; i < s->requests; i++)
        free(s->request[i]);
}

/* The client: one target. */
typedef struct client {
    pst_loop_t *loop;
    pst_http_t *http;
    pst_http_target_t *target;
    pst_ns_t later;   /* added to what the steps are told of the time */
    unsigned ended, wanted;
    int status;
    pst_cause_t cause;
    char body[256], header[64];
} client_t;

static pst_ns_t on_turn(void *arg, pst_ns_t now)
{
    client_t *c = arg;
    pst_http_step(c->http, now + c->later);
    if (c->ended >= c->wanted)
        pst_loop_stop(c->loop);
    return pst_ns_min(pst_http_due(c->http), now + 10 * PST_MS);
}

static void client_start_at(client_t *c, const pst_http_target_opts_t *o)
{
    c->loop = pst_loop_new();
    c->http = pst_http_new(c->loop);
    c->target = pst_http_target_new(c->http, o);
    pst_loop_prepare(c->loop, on_turn, c);
}

static void client_start_with(client_t *c, uint16_t port, bool through_curl, pst_ns_t timeout, pst_auth_t auth,
                              char *key_text)
{
    char url[64];
    pst_secret_t key = {key_text};
    static const pst_http_header_t title = {PST_VIEW_LIT("X-Title"), PST_VIEW_LIT("My batches")};
    /* What h1.h does not know goes through curl. */
    snprintf(url, sizeof url, "http://%s127.0.0.1:%u/v1", through_curl ? "user@" : "", port);
    pst_http_target_opts_t o = {.base_url = url, .auth = auth, .key = &key, .timeout = timeout,
                                .header = &title, .headers = 1};
    client_start_at(c, &o);
}

static void client_start(client_t *c, uint16_t port, bool through_curl, pst_ns_t timeout)
{
    char key[] = "k-1";
    client_start_with(c, port, through_curl, timeout, PST_AUTH_X_API_KEY, key);
}

static void client_stop(client_t *c)
{
    pst_http_target_destroy(&c->target);
    pst_http_destroy(&c->http);
    pst_loop_destroy(&c->loop);
}

static void on_done(void *arg, const pst_http_answer_t *a, uint64_t latency_us)
{
    client_t *c = arg;
    c->ended++;
    c->status = a->status;
    c->cause = a->transport;
    snprintf(c->body, sizeof c->body, "%.*s", (int)a->body.n, a->body.p ? a->body.p : "");
    c->header[0] = '\0';
    for (unsigned i = 0; i < a->headers; i++) {
        if (pst_view_eqs(a->header[i].name, "x-request-id"))
            snprintf(c->header, sizeof c->header, "%.*s", (int)a->header[i].value.n, a->header[i].value.p);
    }
    assert_true(latency_us < 60u * 1000u * 1000u);
}

static pst_http_call_t *begin(client_t *c, const pst_http_req_t *req)
{
    c->wanted++;
    return pst_http_start(c->http, c->target, req, on_done, c);
}

static void call(client_t *c, const pst_http_req_t *req)
{
    assert_non_null(begin(c, req));
    pst_loop_run(c->loop);
}

static const pst_http_req_t small = {.path = {"/chat", 5}, .body = {"{\"a\":1}", 7}};

#define ANSWER "HTTP/1.1 200 OK\r\nX-Request-ID: r-1\r\nContent-Length: 2\r\n\r\n{}"

static const char *const answers[] = {ANSWER, ANSWER, ANSWER};

/* ---- what goes over the wire ----------------------------------------------------------------- */

static void has(const server_t *s, unsigned i, const char *text)
{
    if (!strcasestr(s->request[i], text))
        fail_msg("no \"%s\" in\n%s", text, s->request[i]);
}

static void one_call(bool through_curl)
{
    static const char *const does[] = {"aw"};
    static const char *const interim[] = {"HTTP/1.1 100 Continue\r\n\r\n" ANSWER};
    server_t s = {.does = does, .answer = interim, .connections = 1};
    client_t c = {0};
    pst_http_req_t req = small;
    req.headers = 1;
    req.header[0] = (pst_http_header_t){PST_VIEW_LIT("X-Version"), PST_VIEW_LIT("2023-06-01")};
    server_start(&s);
    client_start(&c, s.port, through_curl, 60 * PST_SEC);
    call(&c, &req);
    client_stop(&c);
    server_join(&s);
    assert_int_equal(c.status, 200);
    assert_string_equal(c.body, "{}");
    assert_string_equal(c.header, "r-1");
    char host[64];
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", s.port);
    assert_memory_equal(s.request[0], "POST /v1/chat HTTP/1.1\r\n", 24);
    has(&s, 0, host);
    has(&s, 0, "\r\nX-Version: 2023-06-01\r\n");
    has(&s, 0, "\r\nContent-Type: application/json\r\n");
    has(&s, 0, "\r\nContent-Length: 7\r\n");
    has(&s, 0, "\r\nx-api-key: k-1\r\n");
    has(&s, 0, "\r\nUser-Agent: penstock/");
    has(&s, 0, "\r\nX-Title: My batches\r\n");
    has(&s, 0, "\r\n\r\n{\"a\":1}");
    assert_null(strcasestr(s.request[0], "expect:"));
    assert_null(strcasestr(s.request[0], "accept-encoding:"));
    server_release(&s);
}

static void a_request_is_what_was_asked_for(void **state)
{
    (void)state;
    one_call(false);
    one_call(true);
}

/* proxy, environment: made of the server's port.  The request line that comes. */
static void call_by_proxy(const char *base_url, const char *proxy, const char *environment, const char *line)
{
    static const char *const does[] = {"aw"};
    server_t s = {.does = does, .answer = answers, .connections = 1};
    client_t c = {0};
    char url[128], proxy_url[128], env_url[128];
    server_start(&s);
    snprintf(url, sizeof url, base_url, s.port);
    snprintf(proxy_url, sizeof proxy_url, proxy ? proxy : "", s.port);
    snprintf(env_url, sizeof env_url, environment, s.port);
    setenv("http_proxy", env_url, 1);
    pst_http_target_opts_t o = {.base_url = url, .proxy = proxy ? proxy_url : NULL, .timeout = 60 * PST_SEC};
    client_start_at(&c, &o);
    call(&c, &small);
    client_stop(&c);
    unsetenv("http_proxy");
    server_join(&s);
    assert_int_equal(c.status, 200);
    assert_memory_equal(s.request[0], line, strlen(line));
    server_release(&s);
}

static void a_proxy_is_the_providers_own_or_the_environments(void **state)
{
    (void)state;
    static const char far[] = "http://model.invalid:8000/v1", by_proxy[] = "POST http://model.invalid:8000/v1/chat HTTP/1.1\r\n";
    call_by_proxy(far, "http://127.0.0.1:%u", "", by_proxy);
    call_by_proxy(far, "http://127.0.0.1:%u", "http://127.0.0.1:9", by_proxy);
    call_by_proxy(far, NULL, "http://127.0.0.1:%u", by_proxy);
    call_by_proxy("http://127.0.0.1:%u/v1", "", "http://127.0.0.1:9", "POST /v1/chat HTTP/1.1\r\n");
}

/* A copy of a header's value, without its line's end; to be freed. */
static char *value_of(const server_t *s, unsigned i, const char *name)
{
    char line[64];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *p = strcasestr(s->request[i], line);
    if (!p)
        fail_msg("no %s in\n%s", name, s->request[i]);
    p += strlen(line);
    return strndup(p, strcspn(p, "\r"));
}

static uint64_t seconds_of(const char *date)
{
    struct tm tm = {0};
    assert_non_null(strptime(date, "%Y%m%dT%H%M%SZ", &tm));
    return (uint64_t)timegm(&tm);
}

/* As the other side would find it: from nothing but what has arrived, and the key. */
static void assert_signed(const server_t *s, unsigned i, const char *target, const pst_http_header_t *header,
                          unsigned headers, const char *body)
{
    char *host = value_of(s, i, "Host"), *date = value_of(s, i, "X-Amz-Date"),
         *authorization = value_of(s, i, "Authorization");
    pst_sigv4_key_t key = {.region = PST_VIEW_LIT("us-east-1"), .service = PST_VIEW_LIT("bedrock")};
    pst_view_t piece = pst_view_str(body);
    pst_sigv4_req_t req = {.method = "POST", .host = pst_view_str(host), .target = pst_view_str(target),
                           .header = header, .headers = headers, .piece = &piece, .pieces = 1};
    char said[PST_SIGV4_DATE_N + 1];
    pst_buf_t b;
    pst_buf_init(&b, 0);
    assert_true(pst_sigv4_key_parse(PST_VIEW_LIT("AKIA:secret"), &key));
    pst_sigv4_sign(&key, &req, seconds_of(date), said, &b);
    pst_buf_putc(&b, '\0');
    assert_string_equal(said, date);
    assert_string_equal(b.p, authorization);
    assert_true(pst_clock_wall_ms() / 1000 - seconds_of(date) < 60);
    assert_null(strstr(s->request[i], "secret"));
    assert_memory_equal(s->request[i] + 5, target, strlen(target));
    pst_buf_release(&b);
    free(host);
    free(date);
    free(authorization);
}

static void signed_calls(bool through_curl)
{
    static const char *const does[] = {"aaw"};
    static const pst_view_t piece[] = {PST_VIEW_LIT("{\"messages\""), PST_VIEW_LIT(":[]}")};
    server_t s = {.does = does, .answer = answers, .connections = 1};
    client_t c = {0};
    char key[] = "AKIA:secret:token";
    const pst_http_header_t headers[] = {{PST_VIEW_LIT("X-Amz-Security-Token"), PST_VIEW_LIT("token")},
                                         {PST_VIEW_LIT("X-Version"), PST_VIEW_LIT("7")}};
    pst_http_req_t plain = small,
                   pieces = {.path = PST_VIEW_LIT("/model/x-v1%3A0/converse"), .piece = piece, .pieces = 2};
    pieces.headers = 1;
    pieces.header[0] = headers[1];
    server_start(&s);
    client_start_with(&c, s.port, through_curl, 60 * PST_SEC, PST_AUTH_AWS, key);
    call(&c, &plain);
    call(&c, &pieces);
    pieces.headers = PST_HTTP_HEADERS_MAX - 2;
    assert_null(pst_http_start(c.http, c.target, &pieces, on_done, &c)); /* no room for the signature's */
    client_stop(&c);
    server_join(&s);
    has(&s, 0, "\r\nX-Amz-Security-Token: token\r\n");
    assert_signed(&s, 0, "/v1/chat", headers, 1, "{\"a\":1}");
    assert_signed(&s, 1, "/v1/model/x-v1%3A0/converse", headers, 2, "{\"messages\":[]}");
    server_release(&s);
}

static void a_request_with_a_key_of_aws_is_signed(void **state)
{
    (void)state;
    signed_calls(false);
    signed_calls(true);
}

static void a_key_of_aws_without_a_colon_is_a_bearers(void **state)
{
    (void)state;
    static const char *const does[] = {"aw"};
    server_t s = {.does = does, .answer = answers, .connections = 1};
    client_t c = {0};
    char key[] = "ABSK+/=";
    server_start(&s);
    client_start_with(&c, s.port, false, 60 * PST_SEC, PST_AUTH_AWS, key);
    call(&c, &small);
    client_stop(&c);
    server_join(&s);
    has(&s, 0, "\r\nAuthorization: Bearer ABSK+/=\r\n");
    assert_null(strcasestr(s.request[0], "x-amz-"));
    server_release(&s);
}

static void a_key_goes_where_the_provider_looks_for_it(void **state)
{
    (void)state;
    static const char *const line[] = {
        [PST_AUTH_BEARER] = "\r\nAuthorization: Bearer k-1\r\n",
        [PST_AUTH_X_API_KEY] = "\r\nx-api-key: k-1\r\n",
        [PST_AUTH_GOOG_KEY] = "\r\nx-goog-api-key: k-1\r\n",
        [PST_AUTH_AWS] = "\r\nAuthorization: Bearer k-1\r\n",
        [PST_AUTH_API_KEY] = "\r\napi-key: k-1\r\n",
    };
    static const char *const does[] = {"rac"};
    for (size_t i = PST_AUTH_BEARER; i < PST_COUNT(line); i++) {
        server_t s = {.does = does, .answer = answers, .connections = 1};
        client_t c = {0};
        server_start(&s);
        char key[] = "k-1";
        client_start_with(&c, s.port, i % 2, 60 * PST_SEC, (pst_auth_t)i, key);
        call(&c, &small);
        client_stop(&c);
        server_join(&s);
        assert_int_equal(c.status, 200);
        has(&s, 0, line[i]);
        server_release(&s);
    }
}

static void long_body(bool through_curl)
{
    enum { PART = 100000 };
    static const char *const does[] = {"aw"};
    server_t s = {.does = does, .answer = answers, .connections = 1};
    client_t c = {0};
    char *part = malloc(PART);
    for (size_t i = 0; i < PART; i++)
        part[i] = (char)('a' + i % 23);
    pst_view_t pieces[] = {PST_VIEW_LIT("{\"x\":\""), {part, PART}, PST_VIEW_LIT("|"), {part, PART / 2}, PST_VIEW_LIT("\"}")};
    pst_http_req_t req = {.path = PST_VIEW_LIT("/p"), .piece = pieces, .pieces = PST_COUNT(pieces)};
    server_start(&s);
    client_start(&c, s.port, through_curl, 60 * PST_SEC);
    call(&c, &req);
    client_stop(&c);
    server_join(&s);
    assert_int_equal(c.status, 200);
    const char *body = strstr(s.request[0], "\r\n\r\n") + 4;
    size_t n = s.request_n[0] - (size_t)(body - s.request[0]);
    assert_int_equal(n, pst_http_req_bytes(&req));
    for (size_t i = 0; i < PST_COUNT(pieces); i++) {
        assert_memory_equal(body, pieces[i].p, pieces[i].n);
        body += pieces[i].n;
    }
    free(part);
    server_release(&s);
}

static void a_body_in_pieces_arrives_whole(void **state)
{
    (void)state;
    long_body(false);
    long_body(true);
}

static void what_cannot_be_sent_is_refused(void **state)
{
    (void)state;
    client_t c = {0};
    client_start(&c, 9, false, PST_SEC);
    static const char *const paths[] = {"", "chat", "/a\r\nb", "/a b"};
    for (size_t i = 0; i < PST_COUNT(paths); i++) {
        pst_http_req_t req = {.path = pst_view_str(paths[i])};
        assert_null(pst_http_start(c.http, c.target, &req, on_done, &c));
    }
    pst_http_req_t req = small;
    req.headers = 1;
    req.header[0] = (pst_http_header_t){PST_VIEW_LIT("a"), PST_VIEW_LIT("b\nc: d")};
    assert_null(pst_http_start(c.http, c.target, &req, on_done, &c));
    client_stop(&c);
    assert_int_equal(c.ended, 0);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void connections_are_kept(void **state)
{
    (void)state;
    static const char *const does[] = {"aaaw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = answers, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        for (int i = 0; i < 3; i++) {
            call(&c, &small);
            assert_int_equal(c.status, 200);
        }
        client_stop(&c);
        server_join(&s);
        assert_int_equal(s.requests, 3);
        assert_true(s.closed_by_client);
        server_release(&s);
    }
}

static void a_connection_that_the_server_closed_is_not_used(void **state)
{
    (void)state;
    static const char *const does[] = {"ac", "aw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = answers, .connections = 2};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        call(&c, &small);
        usleep(20000); /* for the close to arrive: were it late the call below would fail, not pass by mistake */
        call(&c, &small);
        assert_int_equal(c.status, 200);
        client_stop(&c);
        server_join(&s);
        assert_int_equal(s.requests, 2);
        server_release(&s);
    }
}

static void a_connection_rests_no_longer_than_servers_wait(void **state)
{
    (void)state;
    static const char *const does[] = {"aw", "aw"};
    server_t s = {.does = does, .answer = answers, .connections = 2};
    client_t c = {0};
    server_start(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    call(&c, &small);
    assert_true(pst_http_due(c.http) < pst_loop_now(c.loop) + 4 * PST_SEC);
    pst_http_step(c.http, pst_loop_now(c.loop) + 4 * PST_SEC);
    assert_true(pst_http_due(c.http) == PST_NEVER);
    call(&c, &small);
    assert_int_equal(c.status, 200);
    client_stop(&c);
    server_join(&s);
    assert_int_equal(s.accepted, 2);
    server_release(&s);
}

/* The request may have been received, and be paid for: sent again it would be twice. */
static void a_call_that_was_sent_is_not_sent_again(void **state)
{
    (void)state;
    static const char *const does[] = {"asc", "aw"};
    server_t s = {.does = does, .answer = answers, .connections = 2};
    client_t c = {0};
    server_start(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    call(&c, &small);
    call(&c, &small);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
    call(&c, &small);
    assert_int_equal(c.status, 200);
    client_stop(&c);
    server_join(&s);
    assert_int_equal(s.requests, 3);
    server_release(&s);
}

static void an_answer_may_come_before_the_end_of_the_request(void **state)
{
    (void)state;
    static const char *const does[] = {"ed", "aw"};
    static const char *const texts[] = {"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n[]", ANSWER};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = texts, .connections = 2};
        client_t c = {0};
        size_t n = 16 << 20; /* more than sockets buffer */
        char *body = malloc(n);
        memset(body, 'x', n);
        pst_http_req_t req = {.path = PST_VIEW_LIT("/big"), .body = {body, n}};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        call(&c, &req);
        assert_int_equal(c.status, 413);
        assert_string_equal(c.body, "[]");
        free(body);
        client_stop(&c);
        /* the second connection is not wanted */
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(s.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
        close(fd);
        server_join(&s);
        server_release(&s);
    }
}

static void nobody_there_is_a_failed_connection(void **state)
{
    (void)state;
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.connections = 0};
        client_t c = {0};
        server_start(&s);
        server_join(&s); /* its port is closed now */
        client_start(&c, s.port, curl, 60 * PST_SEC);
        call(&c, &small);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
        client_stop(&c);
    }
}

/* More than connections are made at once. */
static void all_calls_hear_that_nobody_is_there(void **state)
{
    (void)state;
    server_t s = {.connections = 0};
    client_t c = {0};
    server_start(&s);
    server_join(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    pst_ns_t before = pst_clock_mono();
    for (int i = 0; i < 1000; i++)
        assert_non_null(begin(&c, &small));
    pst_loop_run(c.loop);
    assert_int_equal(c.ended, 1000);
    assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
    assert_true(pst_clock_mono() - before < 30 * PST_SEC);
    client_stop(&c);
}

static void a_connection_that_is_closed_at_once_fails_its_call(void **state)
{
    (void)state;
    static const char *const does[] = {"c"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        pst_ns_t before = pst_clock_mono();
        call(&c, &small);
        assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
        assert_true(pst_clock_mono() - before < 30 * PST_SEC);
        client_stop(&c);
        server_join(&s);
        server_release(&s);
    }
}

/* As a worker ends: nobody waits for connections that are being made. */
static void the_end_waits_for_nothing(void **state)
{
    (void)state;
    static const char *const does[] = {"w"};
    server_t s = {.does = does, .connections = 1};
    client_t c = {0};
    server_start(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    assert_non_null(begin(&c, &small));
    client_stop(&c);
    assert_int_equal(c.ended, 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0); /* the server may have seen nobody yet */
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(s.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)!connect(fd, (struct sockaddr *)&a, sizeof a);
    close(fd);
    server_join(&s);
    server_release(&s);
}

static void half_an_answer_is_none(void **state)
{
    (void)state;
    static const char *const does[] = {"ac"};
    static const char *const half[] = {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"half\":"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = half, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        call(&c, &small);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
        assert_string_equal(c.body, "");
        client_stop(&c);
        server_join(&s);
        server_release(&s);
    }
}

/* It cannot be read by h1.h; said again, it goes through curl. */
static void a_packed_answer_is_unpacked_the_second_time(void **state)
{
    (void)state;
    /* {"packed":true} by gzip, in chunks, for it has NULs: each answer ends before its first. */
    static const char *const does[] = {"ac", "ac"};
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}";
    static const char *const texts[] = {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", head};
    server_t s = {.does = does, .answer = texts, .connections = 2};
    client_t c = {0};
    server_start(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    call(&c, &small);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
    call(&c, &small);
    assert_int_equal(c.status, 200);
    client_stop(&c);
    server_join(&s);
    /* curl's manner of beginning a request */
    assert_memory_equal(strstr(s.request[0], "\r\n"), "\r\nContent-Length", 16);
    assert_memory_equal(strstr(s.request[1], "\r\n"), "\r\nHost", 6);
    server_release(&s);
}

/* ---- time and cuts --------------------------------------------------------------------------- */

static void a_call_has_its_time(void **state)
{
    (void)state;
    static const char *const does[] = {"sw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 200 * PST_MS);
        call(&c, &small);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_TIMEOUT);
        client_stop(&c);
        server_join(&s);
        assert_true(s.closed_by_client);
        server_release(&s);
    }
}

static void a_cut_call_is_not_heard_of(void **state)
{
    (void)state;
    static const char *const does[] = {"sw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        pst_http_call_t *waiting = begin(&c, &small);
        pst_http_cancel(c.http, &waiting); /* before its connection is there */
        assert_null(waiting);
        pst_http_call_t *sent = begin(&c, &small);
        c.wanted = 0;
        for (unsigned i = 0; i < 1000 && s.requests == 0; i++) {
            pst_loop_run(c.loop); /* a turn */
            usleep(1000);
        }
        assert_int_equal(s.requests, 1);
        pst_http_cancel(c.http, &sent);
        client_stop(&c);
        server_join(&s);
        assert_true(s.closed_by_client);
        assert_int_equal(c.ended, 0);
        server_release(&s);
    }
}

static void calls_outlive_their_target(void **state)
{
    (void)state;
    static const char *const does[] = {"aw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = answers, .connections = 1};
        client_t c = {0};
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        assert_non_null(begin(&c, &small));
        pst_http_target_destroy(&c.target);
        pst_loop_run(c.loop);
        assert_int_equal(c.status, 200);
        client_stop(&c);
        server_join(&s);
        has(&s, 0, "\r\nx-api-key: k-1\r\n");
        server_release(&s);
    }
}

/* ---- answers that are wanted as they come ---------------------------------------------------- */

#define CHUNKED_HEAD "HTTP/1.1 200 OK\r\nX-Request-ID: r-1\r\nTransfer-Encoding: chunked\r\n\r\n"

/* What came of a streamed answer, and what is done about it. */
typedef struct stream {
    client_t c;
    server_t s;
    pst_http_call_t *call;
    char got[256];
    unsigned parts, goes;   /* the server is told to go on so many times */
    pst_http_part_t does;   /* with the first part; those behind it are taken */
    bool pauses, held;      /* at the first part */
    pst_ns_t since;         /* paused */
    bool stops;             /* the loop, at the first part */
    int status;
} stream_t;

static pst_http_part_t on_part(void *arg, const pst_http_answer_t *head, pst_view_t bytes)
{
    stream_t *t = arg;
    size_t n = strlen(t->got);
    t->status = head->status;
    assert_int_equal(head->body.n, 0);
    assert_true(bytes.n > 0);
    t->parts++;
    if (t->goes > 0 && t->goes--)
        assert_int_equal(write(t->s.go[1], "g", 1), 1);
    if (t->does == PST_HTTP_KEEP)
        return PST_HTTP_KEEP;
    snprintf(t->got + n, sizeof t->got - n, "%.*s", (int)bytes.n, bytes.p);
    t->held = t->pauses && t->parts == 1;
    if (t->stops)
        pst_loop_stop(t->c.loop);
    if (t->does == PST_HTTP_CUT)
        t->c.ended++;
    return t->does;
}

static void on_stream_done(void *arg, const pst_http_answer_t *a, uint64_t latency_us)
{
    on_done(&((stream_t *)arg)->c, a, latency_us);
}

static void stream_begin(stream_t *t, const char *const *does, const char *const *answer, bool through_curl,
                         pst_ns_t timeout)
{
    t->s.does = does;
    t->s.answer = answer;
    t->s.connections = PST_MAX(t->s.connections, 1u);
    assert_int_equal(pipe(t->s.go), 0);
    server_start(&t->s);
    client_start(&t->c, t->s.port, through_curl, timeout);
    t->c.wanted = 1;
    t->call = pst_http_stream(t->c.http, t->c.target, &small, on_part, on_stream_done, t);
    assert_non_null(t->call);
}

static void stream_end(stream_t *t)
{
    client_stop(&t->c);
    server_join(&t->s);
    server_release(&t->s);
    close(t->s.go[0]);
    close(t->s.go[1]);
}

/* The server says the next only when the last has been heard. */
static void stream_by_words(bool through_curl)
{
    static const char *const does[] = {"agpgpw"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n", "4\r\n two\r\n", "1\r\n.\r\n0\r\n\r\n"};
    stream_t t = {.goes = 2, .does = PST_HTTP_TAKEN};
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one two.");
    assert_int_equal(t.parts, 3);
    assert_int_equal(t.status, 200);
    assert_int_equal(t.c.status, 200);
    assert_string_equal(t.c.header, "r-1");
    assert_string_equal(t.c.body, "");
}

static void an_answer_comes_as_it_is_said(void **state)
{
    (void)state;
    stream_by_words(false);
    stream_by_words(true);
}

/* Whatever was not taken is there in the end. */
static void stream_kept(bool through_curl)
{
    static const char *const does[] = {"agpw"};
    static const char *const words[] = {
        "HTTP/1.1 429 Slow\r\nX-Request-ID: r-2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        "4\r\n two\r\n0\r\n\r\n"};
    stream_t t = {.goes = 1, .does = PST_HTTP_KEEP};
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_int_equal(t.parts, 1);
    assert_int_equal(t.c.status, 429);
    assert_string_equal(t.c.header, "r-2");
    assert_string_equal(t.c.body, "one two");
}

static void an_answer_may_be_kept(void **state)
{
    (void)state;
    stream_kept(false);
    stream_kept(true);
}

static void stream_cut(bool through_curl)
{
    static const char *const does[] = {"aw"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n"};
    stream_t t = {.does = PST_HTTP_CUT};
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one");
    assert_int_equal(t.c.ended, 1); /* by the part, and not once more */
    assert_true(t.s.closed_by_client);
}

static void a_stream_is_cut_by_its_part(void **state)
{
    (void)state;
    stream_cut(false);
    stream_cut(true);
}

/* The connection goes in the middle: what was said has come. */
static void stream_broken(bool through_curl)
{
    static const char *const does[] = {"agc"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n"};
    stream_t t = {.goes = 1, .does = PST_HTTP_TAKEN};
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one");
    assert_int_equal(t.c.status, 0);
    assert_int_equal(t.c.cause, PST_CAUSE_CONNECTION);
}

static void a_stream_breaks_behind_what_came(void **state)
{
    (void)state;
    stream_broken(false);
    stream_broken(true);
}

static void stream_overdue(bool through_curl)
{
    static const char *const does[] = {"aw"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n"};
    stream_t t = {.does = PST_HTTP_TAKEN};
    stream_begin(&t, does, words, through_curl, 300 * PST_MS);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one");
    assert_int_equal(t.c.cause, PST_CAUSE_TIMEOUT);
}

static void a_stream_has_no_more_time_than_another_call(void **state)
{
    (void)state;
    stream_overdue(false);
    stream_overdue(true);
}

/* With a length told before, or until the end of the connection. */
static void stream_otherwise(bool through_curl)
{
    static const char *const whole[] = {"aw"}, *const cut[] = {"agpc"};
    static const char *const by_length[] = {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\none two"};
    static const char *const by_end[] = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none", " two"};
    stream_t t = {.does = PST_HTTP_TAKEN}, u = {.goes = 1, .does = PST_HTTP_TAKEN};
    stream_begin(&t, whole, by_length, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one two");
    assert_int_equal(t.c.status, 200);
    stream_begin(&u, cut, by_end, through_curl, 60 * PST_SEC);
    pst_loop_run(u.c.loop);
    stream_end(&u);
    assert_string_equal(u.got, "one two");
    assert_int_equal(u.parts, 2);
    assert_int_equal(u.c.status, 200);
}

static void a_stream_may_have_any_form(void **state)
{
    (void)state;
    stream_otherwise(false);
    stream_otherwise(true);
}

/* Pauses as soon as there is a part; for so long as that takes nothing more comes. */
static pst_ns_t on_paused_turn(void *arg, pst_ns_t now)
{
    stream_t *t = arg;
    if (t->held) {
        t->held = false;
        pst_http_pause(t->c.http, t->call, true);
        t->since = now;
        assert_int_equal(write(t->s.go[1], "g", 1), 1);
    } else if (t->pauses && t->parts && now - t->since > 200 * PST_MS) {
        assert_int_equal(t->parts, 1);
        t->pauses = false;
        pst_http_pause(t->c.http, t->call, false);
    }
    return now + 10 * PST_MS;
}

static void stream_paused(bool through_curl)
{
    static const char *const does[] = {"agpw"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n", "4\r\n two\r\n0\r\n\r\n"};
    stream_t t = {.does = PST_HTTP_TAKEN, .pauses = true};
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_prepare(t.c.loop, on_paused_turn, &t);
    pst_loop_run(t.c.loop);
    stream_end(&t);
    assert_string_equal(t.got, "one two");
    assert_int_equal(t.c.status, 200);
}

static void a_paused_stream_waits(void **state)
{
    (void)state;
    stream_paused(false);
    stream_paused(true);
}

/* Cut while it is paused; what its handle or connection remembers must not hold up the next call. */
static void stream_cancelled(bool through_curl)
{
    static const char *const does[] = {"aw", "aw"};
    static const char *const words[] = {CHUNKED_HEAD "3\r\none\r\n", ANSWER};
    stream_t t = {.does = PST_HTTP_TAKEN, .stops = true};
    t.s.connections = 2;
    stream_begin(&t, does, words, through_curl, 60 * PST_SEC);
    pst_loop_run(t.c.loop);
    assert_int_equal(t.parts, 1);
    pst_http_pause(t.c.http, t.call, true);
    pst_http_cancel(t.c.http, &t.call);
    t.c.wanted = 0;
    call(&t.c, &small);
    assert_string_equal(t.c.body, "{}");
    stream_end(&t);
}

static void a_paused_stream_can_be_cut(void **state)
{
    (void)state;
    stream_cancelled(false);
    stream_cancelled(true);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(a_request_is_what_was_asked_for),
    cmocka_unit_test(a_proxy_is_the_providers_own_or_the_environments),
    cmocka_unit_test(a_request_with_a_key_of_aws_is_signed),
    cmocka_unit_test(a_key_of_aws_without_a_colon_is_a_bearers),
    cmocka_unit_test(a_key_goes_where_the_provider_looks_for_it),
    cmocka_unit_test(a_body_in_pieces_arrives_whole),
    cmocka_unit_test(what_cannot_be_sent_is_refused),
    cmocka_unit_test(connections_are_kept),
    cmocka_unit_test(a_connection_that_the_server_closed_is_not_used),
    cmocka_unit_test(a_connection_rests_no_longer_than_servers_wait),
    cmocka_unit_test(a_call_that_was_sent_is_not_sent_again),
    cmocka_unit_test(an_answer_may_come_before_the_end_of_the_request),
    cmocka_unit_test(nobody_there_is_a_failed_connection),
    cmocka_unit_test(all_calls_hear_that_nobody_is_there),
    cmocka_unit_test(a_connection_that_is_closed_at_once_fails_its_call),
    cmocka_unit_test(the_end_waits_for_nothing),
    cmocka_unit_test(half_an_answer_is_none),
    cmocka_unit_test(a_packed_answer_is_unpacked_the_second_time),
    cmocka_unit_test(a_call_has_its_time),
    cmocka_unit_test(a_cut_call_is_not_heard_of),
    cmocka_unit_test(calls_outlive_their_target),
    cmocka_unit_test(an_answer_comes_as_it_is_said),
    cmocka_unit_test(an_answer_may_be_kept),
    cmocka_unit_test(a_stream_is_cut_by_its_part),
    cmocka_unit_test(a_stream_breaks_behind_what_came),
    cmocka_unit_test(a_stream_has_no_more_time_than_another_call),
    cmocka_unit_test(a_stream_may_have_any_form),
    cmocka_unit_test(a_paused_stream_waits),
    cmocka_unit_test(a_paused_stream_can_be_cut),
};

UNIT_MAIN(tests)
