/* bare_curl - the ceiling of the HTTP path: libcurl's multi_socket interface on epoll, posting the bodies of
 * bench_submit to the simulated provider, and nothing else.  With --api they are what that adapter makes of them, all
 * made before the stopwatch starts, and go where it says.
 *
 * What is here because it was measured to be no slower than anything else tried: at most 64 calls a multi handle
 * (libcurl's search for a free connection is linear in them), easy handles that keep all but their body, a URL that is
 * parsed once (a seventh of all instructions), descriptors that stay in epoll between calls, HTTP/2 on one connection a
 * multi handle.
 *
 * The stopwatch runs without connecting: each easy handle makes one call before it starts. */
#include <curl/curl.h>
#include <getopt.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "adapter.h"
#include "prompts.h"
#include "stopwatch.h"

#define EVENTS_MAX 256
#define WAIT_MS_MAX 1000

typedef struct bare bare_t;

typedef struct shard {
    bare_t *bare;
    uint32_t number;
    CURLM *multi;
    pst_ns_t due; /* PST_NEVER: curl wants no timer */
} shard_t;

/* libcurl says of a connection "watch it" and "forget it" once a call.  It stays in epoll as it is until libcurl closes
 * it, or until it becomes ready while nobody wants to know. */
typedef struct conn {
    shard_t *shard; /* NULL: not in epoll */
    uint32_t events;
    bool ours; /* opened by on_open: on_close will tell of its end */
    bool wanted;
} conn_t;

typedef struct call {
    CURL *easy;
    shard_t *shard;
    uint32_t job;
    pst_buf_t body, answer;
} call_t;

struct bare {
    const char *url, *model, *cacert;
    uint32_t jobs, bytes, text_bytes, concurrency, shard_calls, connections;
    bool unique, http2;
    bench_prompts_t *prompts;
    const pst_provider_t *adapter; /* NULL: the bodies go as they are */
    pst_buf_t made, target;        /* by it: the requests' bodies, one after the other; their URL */
    size_t *made_end;              /* of job i's */
    struct curl_slist *headers;
    shard_t *shard;
    uint32_t shards;
    call_t *call;
    int epoll;
    conn_t *conn; /* by descriptor */
    size_t conns;
    CURLSH *share;
    CURLU *parsed; /* of url */
    uint32_t goal, begun, ended, opened, stalls;
};

static _Noreturn void fail(const char *what, const char *why)
{
    fprintf(stderr, "bare_curl: %s: %s\n", what, why);
    exit(1);
}

/* ---- calls ------------------------------------------------------------------------------------------------------ */

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    call_t *c = arg;
    pst_buf_put(&c->answer, p, size * n);
    return size * n;
}

static pst_view_t body_of(call_t *c)
{
    bare_t *b = c->shard->bare;
    if (b->adapter) {
        size_t at = c->job ? b->made_end[c->job - 1] : 0;
        return pst_view(b->made.p + at, b->made_end[c->job] - at);
    }
    pst_buf_clear(&c->body);
    pst_buf_putv(&c->body, bench_prompts_body(b->prompts, c->job));
    return pst_buf_view(&c->body);
}

static void begin(call_t *c)
{
    bare_t *b = c->shard->bare;
    c->job = b->begun++;
    pst_view_t body = body_of(c);
    pst_buf_clear(&c->answer);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    if (curl_multi_add_handle(c->shard->multi, c->easy) != CURLM_OK)
        fail("curl", "takes no more handles");
}

/* Another version than the one asked for would be measured under a wrong name. */
static void check_version(call_t *c)
{
    long version = 0;
    curl_easy_getinfo(c->easy, CURLINFO_HTTP_VERSION, &version);
    if (version != (c->shard->bare->http2 ? CURL_HTTP_VERSION_2_0 : CURL_HTTP_VERSION_1_1))
        fail("call", "the server chose another version of HTTP");
}

static void end(call_t *c, CURLcode code)
{
    bare_t *b = c->shard->bare;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code || status != 200)
        fail("call", code ? curl_easy_strerror(code) : "not a 200");
    check_version(c);
    if (!bench_prompts_answered(b->prompts, c->job, pst_buf_view(&c->answer), PST_VIEW_LIT("\"echo:")))
        fail("call", "a wrong answer");
    curl_multi_remove_handle(c->shard->multi, c->easy);
    b->ended++;
    if (b->begun < b->goal)
        begin(c);
}

static void collect(shard_t *s)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(s->multi, &left))) {
        call_t *c = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        end(c, code);
    }
}

/* ---- shards and the loop ---------------------------------------------------------------------------------------- */

/* What epoll gives back: which shard, which descriptor. */
static uint64_t ticket(uint32_t shard, int fd)
{
    return (uint64_t)shard << 32 | (uint32_t)fd;
}

static conn_t *conn_at(bare_t *b, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need > b->conns) {
        size_t n = PST_MAX(need, 2 * b->conns);
        b->conn = pst_realloc(b->conn, n * sizeof *b->conn);
        memset(b->conn + b->conns, 0, (n - b->conns) * sizeof *b->conn);
        b->conns = n;
    }
    return &b->conn[fd];
}

static void unwatch(bare_t *b, int fd)
{
    conn_t *n = conn_at(b, fd);
    if (n->shard)
        epoll_ctl(b->epoll, EPOLL_CTL_DEL, fd, NULL);
    n->shard = NULL;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    (void)purpose;
    bare_t *b = arg;
    int fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    if (fd >= 0)
        conn_at(b, fd)->ours = true;
    b->opened++;
    return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    unwatch(arg, fd);
    *conn_at(arg, fd) = (conn_t){0};
    return close(fd);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    (void)easy;
    (void)known;
    shard_t *s = arg;
    conn_t *n = conn_at(s->bare, fd);
    n->wanted = what != CURL_POLL_REMOVE;
    if (!n->wanted) {
        if (!n->ours)
            unwatch(s->bare, fd);
        return 0;
    }
    struct epoll_event e = {.data.u64 = ticket(s->number, fd)};
    e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    if (n->shard == s && n->events == e.events)
        return 0;
    epoll_ctl(s->bare->epoll, n->shard ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    n->shard = s;
    n->events = e.events;
    return 0;
}

static int on_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    shard_t *s = arg;
    s->due = timeout_ms < 0 ? PST_NEVER : pst_ns_add(pst_clock_mono(), (pst_ns_t)timeout_ms * PST_MS);
    return 0;
}

static void make_shard(bare_t *b, uint32_t number)
{
    shard_t *s = &b->shard[number];
    *s = (shard_t){.bare = b, .number = number, .multi = curl_multi_init(), .due = PST_NEVER};
    if (!s->multi)
        fail("curl", "out of memory");
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s->multi, CURLMOPT_SOCKETDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(s->multi, CURLMOPT_TIMERDATA, s);
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)b->connections);
    curl_multi_setopt(s->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)b->connections);
}

static int until_due(const bare_t *b)
{
    pst_ns_t due = PST_NEVER;
    for (uint32_t i = 0; i < b->shards; i++)
        due = pst_ns_min(due, b->shard[i].due);
    pst_ns_t wait = pst_ns_since(due, pst_clock_mono());
    return wait > WAIT_MS_MAX * PST_MS ? WAIT_MS_MAX : (int)((wait + PST_MS - 1) / PST_MS);
}

static void run_due(bare_t *b)
{
    pst_ns_t now = pst_clock_mono();
    for (uint32_t i = 0; i < b->shards; i++) {
        shard_t *s = &b->shard[i];
        if (s->due > now)
            continue;
        int running;
        s->due = PST_NEVER;
        curl_multi_socket_action(s->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        collect(s);
    }
}

static void on_event(bare_t *b, const struct epoll_event *e)
{
    shard_t *s = &b->shard[e->data.u64 >> 32];
    int fd = (int)(e->data.u64 & UINT32_MAX), mask = 0, running;
    if (!conn_at(b, fd)->wanted) {
        unwatch(b, fd);
        return;
    }
    if (e->events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (e->events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (e->events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    curl_multi_socket_action(s->multi, fd, mask, &running);
    collect(s);
}

/* libcurl 7.88 at times forgets what it has read of one HTTP/2 stream while it was busy with another, where answers
 * are larger than its buffer.  To be paused and resumed makes it look there.  The second lost stays in the figures. */
static void nudge(bare_t *b)
{
    for (uint32_t i = 0; i < b->concurrency; i++) {
        if (!b->call[i].answer.n)
            continue;
        curl_easy_pause(b->call[i].easy, CURLPAUSE_RECV);
        curl_easy_pause(b->call[i].easy, CURLPAUSE_CONT);
    }
    b->stalls++;
}

/* Makes so many calls. */
static void run(bare_t *b, uint32_t calls)
{
    struct epoll_event events[EVENTS_MAX];
    b->goal = calls;
    b->begun = b->ended = 0;
    for (uint32_t i = 0; i < b->concurrency && b->begun < calls; i++)
        begin(&b->call[i]);
    while (b->ended < calls) {
        int wait_ms = until_due(b), n = epoll_wait(b->epoll, events, EVENTS_MAX, wait_ms);
        if (n == 0 && wait_ms == WAIT_MS_MAX && b->http2)
            nudge(b);
        for (int i = 0; i < n; i++)
            on_event(b, &events[i]);
        run_due(b);
    }
}

static long version_of(const bare_t *b)
{
    return b->http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1;
}

static void set_version(call_t *c, long version)
{
    curl_easy_setopt(c->easy, CURLOPT_HTTP_VERSION, version);
    curl_easy_setopt(c->easy, CURLOPT_PIPEWAIT, (long)c->shard->bare->http2);
}

/* Without TLS nobody negotiates HTTP/2: a shard's first call knows it beforehand, the others find its connection.
 * libcurl 7.88 fails a call that knows it again where the connection is there (curl's issue 10634). */
static void forget_prior_knowledge(bare_t *b)
{
    for (uint32_t i = 0; i < b->concurrency; i += b->shard_calls)
        set_version(&b->call[i], version_of(b));
}

static void measure(bare_t *b)
{
    run(b, b->concurrency);
    forget_prior_knowledge(b);
    bench_watch_t w = bench_watch_start();
    run(b, b->jobs);
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    printf("{\"jobs\": %u, \"concurrency\": %u, \"connections\": %u, \"stalls\": %u, \"seconds\": %.6f, "
           "\"jobs_per_s\": %.1f, \"cpu_s\": %.6f, \"cpu_us_per_call\": %.3f, \"rss_kib\": %ld}\n",
           b->jobs, b->concurrency, b->opened, b->stalls, seconds, b->jobs / seconds, cpu, cpu * 1e6 / b->jobs,
           bench_rss_kib());
}

static void make_call(bare_t *b, uint32_t i)
{
    call_t *c = &b->call[i];
    c->shard = &b->shard[i / b->shard_calls];
    pst_buf_init(&c->body, 0);
    pst_buf_init(&c->answer, 0);
    c->easy = curl_easy_init();
    if (!c->easy)
        fail("curl", "out of memory");
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_CURLU, b->parsed);
    curl_easy_setopt(c->easy, CURLOPT_NOPROXY, "*"); /* or the environment is asked for one, five times a call */
    curl_easy_setopt(c->easy, CURLOPT_SHARE, b->share);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, b->headers);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 60000L);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    curl_easy_setopt(c->easy, CURLOPT_OPENSOCKETDATA, b);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    curl_easy_setopt(c->easy, CURLOPT_CLOSESOCKETDATA, b);
    if (b->cacert) {
        curl_easy_setopt(c->easy, CURLOPT_CAINFO, b->cacert);
        /* libcurl reads the file once and not once a connection only where there is no directory beside it. */
        curl_easy_setopt(c->easy, CURLOPT_CAPATH, NULL);
    }
    bool tls = strncasecmp(b->url, "https:", 6) == 0;
    bool prior = b->http2 && !tls && i % b->shard_calls == 0;
    set_version(c, prior ? CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE : version_of(b));
}

/* ---- requests of an adapter ------------------------------------------------------------------------------------- */

static void add_line(bare_t *b, pst_view_t name, const char *between, pst_view_t value)
{
    char line[512];
    snprintf(line, sizeof line, "%.*s%s%.*s", (int)name.n, name.p, between, (int)value.n, value.p);
    b->headers = curl_slist_append(b->headers, line);
}

/* What the requests have in common, of the first. */
static void take_head(bare_t *b, const pst_http_req_t *req)
{
    pst_buf_puts(&b->target, b->url);
    pst_buf_putv(&b->target, req->path);
    pst_buf_putc(&b->target, '\0');
    for (unsigned i = 0; i < req->headers; i++)
        add_line(b, req->header[i].name, ": ", req->header[i].value);
}

static void make_bodies(bare_t *b)
{
    uint32_t n = PST_MAX(b->jobs, b->concurrency);
    pst_json_t tape;
    pst_arena_t arena;
    pst_json_init(&tape);
    pst_arena_init(&arena, 0);
    pst_buf_init(&b->made, 0);
    b->made_end = pst_calloc(n, sizeof *b->made_end);
    for (uint32_t i = 0; i < n; i++) {
        pst_task_t task;
        pst_http_req_t req;
        if (!bench_adapter_parse(&tape, bench_prompts_body(b->prompts, i)) ||
            !bench_adapter_build(b->adapter, &tape, &arena, &task, &req) || req.pieces)
            fail("--api", "this adapter cannot say the jobs, or says them in pieces");
        if (i == 0)
            take_head(b, &req);
        pst_buf_putv(&b->made, req.body);
        b->made_end[i] = b->made.n;
        pst_arena_clear(&arena);
    }
    PST_ASSERT(!b->made.failed);
    pst_arena_release(&arena);
    pst_json_release(&tape);
}

static void setup(bare_t *b)
{
    curl_global_init(CURL_GLOBAL_ALL);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->share = curl_share_init();
    curl_share_setopt(b->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    b->parsed = curl_url();
    b->headers = curl_slist_append(b->headers, "Content-Type: application/json");
    b->headers = curl_slist_append(b->headers, "Expect:");
    add_line(b, pst_view_str(pst_auth_line(b->adapter ? b->adapter->auth : PST_AUTH_BEARER)), "", PST_VIEW_LIT("good-key"));
    if (b->adapter)
        make_bodies(b);
    if (curl_url_set(b->parsed, CURLUPART_URL, b->adapter ? b->target.p : b->url, 0))
        fail("--url", "not a URL");
    b->shards = (b->concurrency + b->shard_calls - 1) / b->shard_calls;
    b->shard = pst_calloc(b->shards, sizeof *b->shard);
    b->call = pst_calloc(b->concurrency, sizeof *b->call);
    for (uint32_t i = 0; i < b->shards; i++)
        make_shard(b, i);
    for (uint32_t i = 0; i < b->concurrency; i++)
        make_call(b, i);
}

static void teardown(bare_t *b)
{
    for (uint32_t i = 0; i < b->concurrency; i++) {
        curl_easy_cleanup(b->call[i].easy);
        pst_buf_release(&b->call[i].body);
        pst_buf_release(&b->call[i].answer);
    }
    for (uint32_t i = 0; i < b->shards; i++)
        curl_multi_cleanup(b->shard[i].multi);
    curl_share_cleanup(b->share);
    curl_url_cleanup(b->parsed);
    curl_slist_free_all(b->headers);
    curl_global_cleanup();
    close(b->epoll);
    pst_buf_release(&b->made);
    pst_buf_release(&b->target);
    free(b->made_end);
    free(b->conn);
    free(b->call);
    free(b->shard);
    bench_prompts_destroy(&b->prompts);
}

static void parse(int argc, char **argv, bare_t *b)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'U'},   {"jobs", required_argument, NULL, 'j'},
        {"bytes", required_argument, NULL, 'n'}, {"text-bytes", required_argument, NULL, 't'},
        {"model", required_argument, NULL, 'm'}, {"concurrency", required_argument, NULL, 'c'},
        {"unique", no_argument, NULL, 'u'},      {"cacert", required_argument, NULL, 'C'},
        {"http2", no_argument, NULL, '2'},       {"connections", required_argument, NULL, 'N'},
        {"shard", required_argument, NULL, 's'}, {"api", required_argument, NULL, 'a'},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'U': b->url = optarg; break;
        case 'j': b->jobs = bench_number("jobs", optarg); break;
        case 'n': b->bytes = bench_number("bytes", optarg); break;
        case 't': b->text_bytes = bench_number("text-bytes", optarg); break;
        case 'm': b->model = optarg; break;
        case 'c': b->concurrency = bench_number("concurrency", optarg); break;
        case 'u': b->unique = true; break;
        case 'C': b->cacert = optarg; break;
        case '2': b->http2 = true; break;
        case 's': b->shard_calls = bench_number("shard", optarg); break;
        case 'N': b->connections = bench_number("connections", optarg); break;
        case 'a': b->adapter = bench_adapter(optarg); break;
        default: exit(2);
        }
    }
    if (!b->connections)
        b->connections = b->http2 ? 1 : b->shard_calls;
    if (b->url)
        return;
    fputs("usage: bare_curl --url URL [--jobs N] [--concurrency N] [--bytes N] [--text-bytes N] [--model NAME] "
          "[--unique]\n"
          "  --cacert FILE: the certificates to trust, if the URL is https:\n"
          "  --http2: by ALPN, or known beforehand if the URL is http:; without it HTTP/1.1\n"
          "  --shard N: calls a multi handle (64)\n"
          "  --api NAME: the bodies, their path and headers as this adapter makes them, of the model " BENCH_UPSTREAM
          ";\n"
          "      URL is then a provider's base_url as the worker has it\n"
          "  --connections N: at most so many a multi handle (one a call; with --http2 one)\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    bare_t b = {.model = "gpt-test", .jobs = 20000, .bytes = 1024, .text_bytes = 500, .concurrency = 64,
                .shard_calls = 64};
    parse(argc, argv, &b);
    bench_prompts_opts_t o = {b.model, b.bytes, b.text_bytes, b.unique};
    b.prompts = bench_prompts_new(&o);
    if (!b.prompts)
        fail("--bytes", "must hold --text-bytes and about 120 more");
    setup(&b);
    measure(&b);
    teardown(&b);
    return 0;
}
