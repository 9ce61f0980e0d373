/* Calls over real sockets of this machine, against a server in a thread that does exactly what a test says. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "http/http.h"
#include "http/sigv4.h"
#include "proc/clock.h"

#define REQUESTS_MAX 8
#define WAIT_MS 10000
#define PAUSE_MS 400
#define ANSWER "HTTP/1.1 200 OK\r\nX-Request-ID: r-1\r\nContent-Length: 2\r\n\r\n{}"

/* What the server does with one connection after the other: for each letter of `does`
 *   a  reads a request and sends the next answer
 *   s  reads a request and says nothing
 *   e  reads a request's headers alone and sends the next answer
 *   t  sends the next answer at once
 *   p  pauses for PAUSE_MS
 *   c  closes
 *   w  waits until the client closes
 *   d  reads until then
 *   g  waits until it is told to go on */
typedef struct server {
    const char *const *does; /* a connection each */
    const char *const *answer;
    const size_t *answer_n; /* NULL: they are texts */
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

static void send_all(int fd, const char *text, size_t n)
{
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

static void send_answer(server_t *s, int fd)
{
    unsigned i = s->answers++;
    send_all(fd, s->answer[i], s->answer_n ? s->answer_n[i] : strlen(s->answer[i]));
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
        if (*does == 'a' || *does == 'e' || *does == 't')
            send_answer(s, fd);
        if (*does == 'd')
            drain(fd);
        if (*does == 'p')
            usleep(PAUSE_MS * 1000);
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

static int listen_here(uint16_t *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static void server_start(server_t *s)
{
    s->listener = listen_here(&s->port);
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

/* ---- a server of any number of connections, which answers every request ---------------------- */

typedef struct crowd {
    int listener;
    uint16_t port;
    pthread_t thread;
    pthread_t of[REQUESTS_MAX * 8];
    unsigned accepted;
} crowd_t;

static void *answer_all(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char text[4096];
    size_t n = 0;
    ssize_t got;
    while (n < sizeof text - 1 && (got = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0) {
        n += (size_t)got;
        text[n] = '\0';
        if (strstr(text, "{\"a\":1}")) { /* all of a request */
            send_all(fd, ANSWER, sizeof ANSWER - 1);
            n = 0;
        }
    }
    close(fd);
    return NULL;
}

static void *admit(void *arg)
{
    crowd_t *s = arg;
    int fd;
    while (s->accepted < PST_COUNT(s->of) && (fd = accept(s->listener, NULL, NULL)) >= 0)
        assert_int_equal(pthread_create(&s->of[s->accepted++], NULL, answer_all, (void *)(intptr_t)fd), 0);
    return NULL;
}

static void crowd_start(crowd_t *s)
{
    s->listener = listen_here(&s->port);
    assert_int_equal(pthread_create(&s->thread, NULL, admit, s), 0);
}

/* When the client has closed all its connections. */
static void crowd_join(crowd_t *s)
{
    shutdown(s->listener, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    for (unsigned i = 0; i < s->accepted; i++)
        assert_int_equal(pthread_join(s->of[i], NULL), 0);
    close(s->listener);
}

/* ---- the client: one target ------------------------------------------------------------------ */

typedef struct client {
    pst_loop_t *loop;
    pst_http_t *http;
    pst_http_target_t *target;
    pst_ns_t later;   /* added to what the steps are told of the time */
    unsigned ended, wanted;
    int status;
    pst_cause_t cause;
    char body[256], header[64], why[400];
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
    snprintf(c->why, sizeof c->why, "%.*s", (int)a->why.n, a->why.p ? a->why.p : "");
    assert_int_equal(a->why.n > 0, a->status == 0);
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

static const char *const answers[] = {ANSWER, ANSWER, ANSWER};

/* ---- what goes over the wire ----------------------------------------------------------------- */

static void has(const server_t *s, unsigned i, const char *text)
{
    if (!strcasestr(s->request[i], text))
        fail_msg("no \"%s\" in\n%s", text, s->request[i]);
}

static void begins(const char *text, const char *with)
{
    assert_memory_equal(text, with, PST_MIN(strlen(with), strlen(text) + 1));
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

/* A client that has `most` calls in flight until `left` have been started. */
typedef struct busy {
    client_t client;
    unsigned left;
} busy_t;

static void on_busy_done(void *arg, const pst_http_answer_t *a, uint64_t latency_us)
{
    busy_t *b = arg;
    on_done(&b->client, a, latency_us);
    assert_int_equal(a->status, 200);
    if (b->left > 0) {
        b->left--;
        assert_non_null(pst_http_start(b->client.http, b->client.target, &small, on_busy_done, b));
    }
}

static void connections_are_as_many_as_calls_in_flight(void **state)
{
    (void)state;
    enum { CALLS = 1000, IN_FLIGHT = 8 };
    for (int curl = 0; curl < 2; curl++) {
        crowd_t s = {0};
        busy_t b = {.left = CALLS - IN_FLIGHT, .client = {.wanted = CALLS}};
        crowd_start(&s);
        client_start(&b.client, s.port, curl, 60 * PST_SEC);
        for (unsigned i = 0; i < IN_FLIGHT; i++)
            assert_non_null(pst_http_start(b.client.http, b.client.target, &small, on_busy_done, &b));
        pst_loop_run(b.client.loop);
        pst_http_stats_t stats = pst_http_stats(b.client.http);
        client_stop(&b.client);
        crowd_join(&s);
        assert_int_equal(b.client.ended, CALLS);
        /* One that is made while another falls idle may never be used, nor be seen by the server before the end. */
        assert_in_range(stats.connections, 1, IN_FLIGHT);
        assert_in_range(s.accepted, 1, stats.connections);
        assert_in_range(stats.reused, CALLS - stats.connections, CALLS - 1);
    }
}

/* The descriptors of this process that are connected to a port; how many, the last of them in *ret. */
static unsigned connected_to(uint16_t port, int *ret)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in a;
        socklen_t n = sizeof a;
        if (getpeername(fd, (struct sockaddr *)&a, &n) == 0 && a.sin_family == AF_INET && ntohs(a.sin_port) == port) {
            *ret = fd;
            count++;
        }
    }
    return count;
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t n = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &n), 0);
    return value;
}

/* Or what lies on the way forgets a connection whose model thinks for long, and nobody is told. */
static void a_silent_connection_is_probed(void **state)
{
    (void)state;
    static const char *const does[] = {"aw"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = answers, .connections = 1};
        client_t c = {0};
        int fd = -1;
        server_start(&s);
        client_start(&c, s.port, curl, 60 * PST_SEC);
        call(&c, &small);
        assert_int_equal(connected_to(s.port, &fd), 1);
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 60);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPINTVL), 30);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_NODELAY), 1);
        client_stop(&c);
        server_join(&s);
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
        char why[64];
        snprintf(why, sizeof why, "connection refused by 127.0.0.1 port %u", s.port);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_CONNECTION);
        assert_string_equal(c.why, why);
        client_stop(&c);
    }
}

/* A label longer than any may be: no server of names is asked. */
#define NO_NAME "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test"

static void call_nowhere(const char *base_url, const char *proxy, pst_cause_t cause, const char *why)
{
    client_t c = {0};
    pst_http_target_opts_t o = {.base_url = base_url, .proxy = proxy, .timeout = 60 * PST_SEC};
    client_start_at(&c, &o);
    call(&c, &small);
    client_stop(&c);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.cause, cause);
    if (!strstr(c.why, why))
        fail_msg("\"%s\" does not say \"%s\"", c.why, why);
}

static void a_name_that_does_not_resolve_is_told_apart(void **state)
{
    (void)state;
    static const char why[] = "the name " NO_NAME " does not resolve";
    call_nowhere("http://" NO_NAME "/v1", "", PST_CAUSE_DNS, why);
    call_nowhere("http://user@" NO_NAME "/v1", "", PST_CAUSE_DNS, why);
    call_nowhere("https://" NO_NAME "/v1", "", PST_CAUSE_DNS, why);
    call_nowhere("https://127.0.0.1/v1", "http://" NO_NAME ":3128", PST_CAUSE_DNS, "the proxy's name " NO_NAME " does not resolve");
}

static void a_server_without_tls_fails_the_handshake(void **state)
{
    (void)state;
    static const char *const does[] = {"td"};
    static const char *const plain[] = {"HTTP/1.1 400 Bad Request\r\n\r\n"};
    server_t s = {.does = does, .answer = plain, .connections = 1};
    char url[64];
    server_start(&s);
    snprintf(url, sizeof url, "https://127.0.0.1:%u/v1", s.port);
    call_nowhere(url, "", PST_CAUSE_TLS, "TLS handshake failed: ");
    server_join(&s);
    server_release(&s);
}

static void a_proxy_that_refuses_is_no_provider_that_cuts(void **state)
{
    (void)state;
    static const char *const does[] = {"ac"};
    static const char *const refusal[] = {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n"};
    server_t s = {.does = does, .answer = refusal, .connections = 1};
    char proxy[64];
    server_start(&s);
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%u", s.port);
    call_nowhere("https://model.invalid/v1", proxy, PST_CAUSE_CONNECTION, "407");
    server_join(&s);
    server_release(&s);
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
        begins(c.why, "connection cut before an answer");
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
        begins(c.why, "connection cut after 47 bytes of the answer");
        client_stop(&c);
        server_join(&s);
        server_release(&s);
    }
}

static size_t packed(char *to, size_t room, const void *body, size_t n, const char *coding)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body, .avail_in = (uInt)n};
    size_t head = 0;
    char *bytes = malloc(room);
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, strcmp(coding, "gzip") == 0 ? MAX_WBITS + 16 : MAX_WBITS, 8, 0), Z_OK);
    z.next_out = (Bytef *)bytes;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    head = (size_t)snprintf(to, room, "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %lu\r\n\r\n", coding,
                            z.total_out);
    assert_true(head + z.total_out <= room);
    memcpy(to + head, bytes, z.total_out);
    size_t all = head + z.total_out;
    deflateEnd(&z);
    free(bytes);
    return all;
}

/* One call that is answered so, with a header of ours that asks for it or without one. */
static void call_packed(client_t *c, bool through_curl, bool asks, const char *answer, size_t n)
{
    static const char *const does[] = {"aw"};
    server_t s = {.does = does, .answer = &answer, .answer_n = &n, .connections = 1};
    char url[64];
    server_start(&s);
    snprintf(url, sizeof url, "http://%s127.0.0.1:%u/v1", through_curl ? "user@" : "", s.port);
    pst_http_target_opts_t o = {.base_url = url, .proxy = "", .timeout = 60 * PST_SEC, .asks_for_packed = asks};
    client_start_at(c, &o);
    call(c, &small);
    client_stop(c);
    server_join(&s);
    const char *line = strcasestr(s.request[0], "\r\nAccept-Encoding: gzip\r\n");
    assert_true(asks == (line != NULL));
    assert_true(asks == (strcasestr(s.request[0], "accept-encoding") != NULL));
    server_release(&s);
}

static void a_packed_answer_is_unpacked(void **state)
{
    (void)state;
    static const char body[] = "{\"packed\":true}";
    for (int i = 0; i < 8; i++) {
        client_t c = {0};
        char answer[512];
        size_t n = packed(answer, sizeof answer, body, sizeof body - 1, i & 2 ? "gzip" : "deflate");
        call_packed(&c, i & 1, i & 4, answer, n);
        assert_int_equal(c.status, 200);
        assert_string_equal(c.body, body);
    }
}

/* 64 KiB that would be 64 MiB. */
static void a_bomb_is_an_answer_too_large(void **state)
{
    (void)state;
    size_t zeros = (size_t)64 << 20, room = (size_t)1 << 20;
    char *body = calloc(1, zeros), *answer = malloc(room);
    size_t n = packed(answer, room, body, zeros, "gzip");
    for (int curl = 0; curl < 2; curl++) {
        client_t c = {0};
        call_packed(&c, curl, true, answer, n);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_PAYLOAD_TOO_LARGE);
    }
    free(body);
    free(answer);
}

static void a_packed_answer_that_is_broken_is_none(void **state)
{
    (void)state;
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}";
    for (int curl = 0; curl < 2; curl++) {
        client_t c = {0};
        call_packed(&c, curl, false, answer, sizeof answer - 1);
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_BAD_ANSWER);
        begins(c.why, "the provider's answer cannot be unpacked");
    }
}

/* It cannot be read by h1.h; said again, it goes through curl. */
static void what_only_curl_unpacks_goes_there_the_second_time(void **state)
{
    (void)state;
    static const char *const does[] = {"ac", "ac"};
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}";
    static const char *const texts[] = {"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}", head};
    server_t s = {.does = does, .answer = texts, .connections = 2};
    client_t c = {0};
    server_start(&s);
    client_start(&c, s.port, false, 60 * PST_SEC);
    call(&c, &small);
    assert_int_equal(c.status, 0);
    assert_int_equal(c.cause, PST_CAUSE_BAD_ANSWER);
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
        assert_string_equal(c.why, "the provider did not answer in time");
        client_stop(&c);
        server_join(&s);
        assert_true(s.closed_by_client);
        server_release(&s);
    }
}

/* One call of a target with that time between two pieces of an answer. */
static void call_idling(server_t *s, client_t *c, bool through_curl, pst_ns_t idle_timeout)
{
    char url[64];
    server_start(s);
    snprintf(url, sizeof url, "http://%s127.0.0.1:%u/v1", through_curl ? "user@" : "", s->port);
    pst_http_target_opts_t o = {.base_url = url, .proxy = "", .timeout = 60 * PST_SEC, .idle_timeout = idle_timeout};
    client_start_at(c, &o);
    call(c, &small);
    client_stop(c);
    server_join(s);
    server_release(s);
}

static void an_answer_that_stalls_is_cut(void **state)
{
    (void)state;
    static const char *const does[] = {"stw"};
    static const char *const begun[] = {"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"half\":"};
    for (int i = 0; i < 4; i++) {
        server_t s = {.does = does, .answer = &begun[i / 2], .connections = 1};
        client_t c = {0};
        char why[128];
        call_idling(&s, &c, i % 2, 100 * PST_MS);
        snprintf(why, sizeof why, "the provider sent %zu bytes of an answer and then nothing for 0.1 s", strlen(begun[i / 2]));
        assert_int_equal(c.status, 0);
        assert_int_equal(c.cause, PST_CAUSE_TIMEOUT);
        assert_string_equal(c.why, why);
        assert_true(s.closed_by_client);
    }
}

/* A model may think for minutes, behind an interim answer too. */
static void silence_before_an_answer_does_not_count(void **state)
{
    (void)state;
    static const char *const does[] = {"sptw", "stptw"};
    static const char *const texts[] = {ANSWER, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", ANSWER};
    for (int i = 0; i < 4; i++) {
        server_t s = {.does = &does[i / 2], .answer = &texts[i / 2], .connections = 1};
        client_t c = {0};
        call_idling(&s, &c, i % 2, PAUSE_MS * PST_MS / 4);
        assert_int_equal(c.status, 200);
    }
}

static void an_answer_in_drops_is_not_idle(void **state)
{
    (void)state;
    static const char *const does[] = {"stptptptw"};
    static const char *const drops[] = {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "{", " ", "}"};
    for (int curl = 0; curl < 2; curl++) {
        server_t s = {.does = does, .answer = drops, .connections = 1};
        client_t c = {0};
        call_idling(&s, &c, curl, 5 * PAUSE_MS * PST_MS / 2);
        assert_int_equal(c.status, 200);
        assert_string_equal(c.body, "{ }");
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
    static const char *const does[] = {"agtgtw"};
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
    static const char *const does[] = {"agtw"};
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
    static const char *const whole[] = {"aw"}, *const cut[] = {"agtc"};
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
    static const char *const does[] = {"agtw"};
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
    cmocka_unit_test(connections_are_as_many_as_calls_in_flight),
    cmocka_unit_test(a_silent_connection_is_probed),
    cmocka_unit_test(a_connection_that_the_server_closed_is_not_used),
    cmocka_unit_test(a_connection_rests_no_longer_than_servers_wait),
    cmocka_unit_test(a_call_that_was_sent_is_not_sent_again),
    cmocka_unit_test(an_answer_may_come_before_the_end_of_the_request),
    cmocka_unit_test(nobody_there_is_a_failed_connection),
    cmocka_unit_test(a_name_that_does_not_resolve_is_told_apart),
    cmocka_unit_test(a_server_without_tls_fails_the_handshake),
    cmocka_unit_test(a_proxy_that_refuses_is_no_provider_that_cuts),
    cmocka_unit_test(all_calls_hear_that_nobody_is_there),
    cmocka_unit_test(a_connection_that_is_closed_at_once_fails_its_call),
    cmocka_unit_test(the_end_waits_for_nothing),
    cmocka_unit_test(half_an_answer_is_none),
    cmocka_unit_test(a_packed_answer_is_unpacked),
    cmocka_unit_test(a_bomb_is_an_answer_too_large),
    cmocka_unit_test(a_packed_answer_that_is_broken_is_none),
    cmocka_unit_test(what_only_curl_unpacks_goes_there_the_second_time),
    cmocka_unit_test(a_call_has_its_time),
    cmocka_unit_test(an_answer_that_stalls_is_cut),
    cmocka_unit_test(silence_before_an_answer_does_not_count),
    cmocka_unit_test(an_answer_in_drops_is_not_idle),
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
