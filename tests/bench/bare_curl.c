/* bare_curl - the ceiling of the HTTP path: libcurl's multi_socket interface on epoll, posting the bodies of bench_submit
 * to the simulated provider, and nothing else.  At most SHARD_CALLS calls a multi handle, as in the worker: libcurl's
 * search for a free connection is linear in them. */
#include <curl/curl.h>
#include <getopt.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "prompts.h"
#include "stopwatch.h"

#define SHARD_CALLS 64u
#define EVENTS_MAX 256

typedef struct bare bare_t;

typedef struct shard {
    bare_t *bare;
    uint32_t number;
    CURLM *multi;
    pst_ns_t due; /* PST_NEVER: curl wants no timer */
} shard_t;

typedef struct call {
    CURL *easy;
    shard_t *shard;
    uint32_t job;
    pst_buf_t body, answer;
} call_t;

struct bare {
    const char *url, *model;
    uint32_t jobs, bytes, text_bytes, concurrency;
    bool unique;
    bench_prompts_t *prompts;
    struct curl_slist *headers;
    shard_t *shard;
    uint32_t shards;
    call_t *call;
    int epoll;
    uint32_t begun, ended;
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

static void begin(call_t *c)
{
    bare_t *b = c->shard->bare;
    c->job = b->begun++;
    pst_buf_clear(&c->body);
    pst_buf_clear(&c->answer);
    pst_buf_putv(&c->body, bench_prompts_body(b->prompts, c->job));
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, c->body.p);
    curl_easy_setopt(c->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
    if (curl_multi_add_handle(c->shard->multi, c->easy) != CURLM_OK)
        fail("curl", "takes no more handles");
}

static void end(call_t *c, CURLcode code)
{
    bare_t *b = c->shard->bare;
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code || status != 200)
        fail("call", code ? curl_easy_strerror(code) : "not a 200");
    if (!bench_prompts_answered(b->prompts, c->job, pst_buf_view(&c->answer), PST_VIEW_LIT("echo:")))
        fail("call", "a wrong answer");
    curl_multi_remove_handle(c->shard->multi, c->easy);
    b->ended++;
    if (b->begun < b->jobs)
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

static void make_call(bare_t *b, uint32_t i)
{
    call_t *c = &b->call[i];
    c->shard = &b->shard[i / SHARD_CALLS];
    pst_buf_init(&c->body, 0);
    pst_buf_init(&c->answer, 0);
    c->easy = curl_easy_init();
    if (!c->easy)
        fail("curl", "out of memory");
    curl_easy_setopt(c->easy, CURLOPT_PRIVATE, c);
    curl_easy_setopt(c->easy, CURLOPT_URL, b->url);
    curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, b->headers);
    curl_easy_setopt(c->easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c->easy, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(c->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, 60000L);
}

/* ---- shards and the loop ---------------------------------------------------------------------------------------- */

/* What epoll gives back: which shard, which descriptor. */
static uint64_t ticket(uint32_t shard, int fd)
{
    return (uint64_t)shard << 32 | (uint32_t)fd;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    (void)easy;
    shard_t *s = arg;
    int epoll = s->bare->epoll;
    if (what == CURL_POLL_REMOVE) {
        epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
        return 0;
    }
    struct epoll_event e = {.data.u64 = ticket(s->number, fd)};
    e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    epoll_ctl(epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    if (!known)
        curl_multi_assign(s->multi, fd, s);
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
    curl_multi_setopt(s->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_CALLS);
}

static int until_due(const bare_t *b)
{
    pst_ns_t due = PST_NEVER;
    for (uint32_t i = 0; i < b->shards; i++)
        due = pst_ns_min(due, b->shard[i].due);
    pst_ns_t wait = pst_ns_since(due, pst_clock_mono());
    return wait > PST_SEC ? 1000 : (int)((wait + PST_MS - 1) / PST_MS);
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
    int mask = 0, running;
    if (e->events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (e->events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (e->events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    curl_multi_socket_action(s->multi, (curl_socket_t)(e->data.u64 & UINT32_MAX), mask, &running);
    collect(s);
}

static void run(bare_t *b)
{
    struct epoll_event events[EVENTS_MAX];
    while (b->ended < b->jobs) {
        int n = epoll_wait(b->epoll, events, EVENTS_MAX, until_due(b));
        for (int i = 0; i < n; i++)
            on_event(b, &events[i]);
        run_due(b);
    }
}

static void measure(bare_t *b)
{
    bench_watch_t w = bench_watch_start();
    for (uint32_t i = 0; i < b->concurrency && b->begun < b->jobs; i++)
        begin(&b->call[i]);
    run(b);
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    printf("{\"jobs\": %u, \"concurrency\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, \"cpu_s\": %.6f, "
           "\"cpu_us_per_call\": %.3f, \"rss_kib\": %ld}\n",
           b->jobs, b->concurrency, seconds, b->jobs / seconds, cpu, cpu * 1e6 / b->jobs, bench_rss_kib());
}

static void setup(bare_t *b)
{
    curl_global_init(CURL_GLOBAL_ALL);
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    b->headers = curl_slist_append(b->headers, "Content-Type: application/json");
    b->headers = curl_slist_append(b->headers, "Authorization: Bearer good-key");
    b->headers = curl_slist_append(b->headers, "Expect:");
    b->shards = (b->concurrency + SHARD_CALLS - 1) / SHARD_CALLS;
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
    curl_slist_free_all(b->headers);
    curl_global_cleanup();
    close(b->epoll);
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
        {"unique", no_argument, NULL, 'u'},      {NULL, 0, NULL, 0},
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
        default: exit(2);
        }
    }
    if (b->url)
        return;
    fputs("usage: bare_curl --url URL [--jobs N] [--concurrency N] [--bytes N] [--text-bytes N] [--model NAME] [--unique]\n",
          stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    bare_t b = {.model = "gpt-test", .jobs = 20000, .bytes = 1024, .text_bytes = 500, .concurrency = 64};
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
