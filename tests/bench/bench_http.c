/* bench_http - requests for chat over HTTP/1.1, on a stopwatch: so many at a time, or at a rate, come what may.
 *
 * At a rate (an open loop) request i is due i ÷ rate seconds after the first, whatever has become of those before it, and
 * its time counts from then: also while it waits for a connection of this program, or for this program.  Connections are
 * made before the stopwatch starts, and kept; every answer is checked.
 *
 * With --stream the answer is server-sent events, whose first is timed too, and what their deltas say is checked. */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <arpa/inet.h>

#include "prompts.h"
#include "stopwatch.h"

#define EVENTS_MAX 256
#define READ_BYTES ((size_t)64 << 10)
#define SILENCE (60 * PST_SEC) /* of the server: the end */

typedef struct conn {
    int fd;
    uint32_t job;
    bool busy, timed;
    pst_ns_t due;
    pst_buf_t in;
} conn_t;

typedef struct run {
    struct sockaddr_in to;
    const char *host, *path, *model;
    uint32_t requests, in_flight, rate, bytes, text_bytes;
    bool stream;
    pst_buf_t headers, request, text;
    bench_prompts_t *prompts;
    int epoll;
    conn_t *conn;
    uint32_t *idle; /* a ring: who has waited longest is next */
    uint32_t idle_at, idle_n;
    uint32_t begun, ended;
    uint64_t events;
    double *us, *first_us;
    pst_ns_t start;
} run_t;

static _Noreturn void give_up(const char *what, pst_view_t more)
{
    fprintf(stderr, "bench_http: %s%s%.*s\n", what, more.n ? ": " : "", (int)PST_MIN(more.n, 2000u), more.p);
    exit(1);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static const char *find(pst_view_t in, const char *what)
{
    return in.n ? memmem(in.p, in.n, what, strlen(what)) : NULL;
}

static pst_view_t after(pst_view_t in, const char *p)
{
    return pst_view(p, in.n - (size_t)(p - in.p));
}

/* A header's value, up to the end of the head. */
static const char *header(pst_view_t head, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = find(head, "\r\n"); p; p = find(after(head, p + 2), "\r\n")) {
        pst_view_t line = after(head, p + 2);
        if (line.n > n && strncasecmp(line.p, name, n) == 0 && line.p[n] == ':')
            return line.p + n + 1 + strspn(line.p + n + 1, " ");
    }
    return NULL;
}

/* Chunks put together into r->text; false: more is to come. */
static bool unchunk(run_t *r, pst_view_t in)
{
    pst_buf_clear(&r->text);
    for (const char *end; (end = find(in, "\r\n")) != NULL;) {
        size_t n = strtoul(in.p, NULL, 16);
        in = after(in, end + 2);
        if (in.n < n + 2)
            return false;
        if (n == 0)
            return true;
        pst_buf_put(&r->text, in.p, n);
        in = after(in, in.p + n + 2);
    }
    return false;
}

/* The body as far as it came into *ret; whether that is all.  Its memory ends with the next call. */
static bool read_answer(run_t *r, const conn_t *c, pst_view_t *ret)
{
    pst_view_t in = pst_buf_view(&c->in);
    const char *end = find(in, "\r\n\r\n");
    *ret = pst_view(NULL, 0);
    if (!end)
        return false;
    pst_view_t head = pst_view(in.p, (size_t)(end + 2 - in.p));
    if (!find(pst_view(in.p, 12), " 200"))
        give_up("an answer is not 200", in);
    *ret = after(in, end + 4);
    const char *length = header(head, "content-length");
    if (length)
        return ret->n >= strtoul(length, NULL, 10);
    bool all = unchunk(r, *ret);
    *ret = pst_buf_view(&r->text);
    return all;
}

static bool is_whole(const run_t *r, uint32_t job, pst_view_t body)
{
    return bench_prompts_answered(r->prompts, job, body, PST_VIEW_LIT("\"content\":\"echo:"));
}

/* What the deltas say, one after the other, as if it had been one. */
static bool is_streamed(run_t *r, uint32_t job, pst_view_t body)
{
    static const char lead[] = "\"content\":\"";
    pst_buf_t all;
    pst_buf_init(&all, 0);
    pst_buf_puts(&all, lead);
    for (const char *p; (p = find(body, "data: ")) != NULL; r->events++) {
        body = after(body, p + 6);
        const char *end = find(body, "\n");
        pst_view_t event = pst_view(body.p, end ? (size_t)(end - body.p) : body.n);
        const char *content = find(event, lead);
        const char *from = content ? content + sizeof lead - 1 : NULL;
        const char *to = content ? memchr(from, '"', after(event, from).n) : NULL;
        if (to)
            pst_buf_put(&all, from, (size_t)(to - from));
    }
    pst_buf_putc(&all, '"');
    bool well = is_whole(r, job, pst_buf_view(&all)) && find(pst_view(body.p, PST_MIN(body.n, 6u)), "[DONE]");
    pst_buf_release(&all);
    return well;
}

static double us_since(pst_ns_t then)
{
    return (double)pst_ns_since(pst_clock_mono(), then) / 1e3;
}

static void take(run_t *r, conn_t *c)
{
    pst_view_t body;
    bool all = read_answer(r, c, &body);
    if (r->stream && !c->timed && find(body, "data: ")) {
        c->timed = true;
        r->first_us[c->job] = us_since(c->due);
    }
    if (!all)
        return;
    r->us[r->ended++] = us_since(c->due);
    if (!(r->stream ? is_streamed(r, c->job, body) : is_whole(r, c->job, body)))
        give_up("a wrong answer", body);
    c->busy = false;
    r->idle[(r->idle_at + r->idle_n++) % r->in_flight] = (uint32_t)(c - r->conn);
}

static void receive(run_t *r, conn_t *c)
{
    if (!pst_buf_reserve(&c->in, READ_BYTES))
        give_up("out of memory", pst_view(NULL, 0));
    ssize_t n = recv(c->fd, c->in.p + c->in.n, READ_BYTES, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || !c->busy)
        give_up("the server closed a connection", pst_view_str(n < 0 ? strerror(errno) : ""));
    c->in.n += (size_t)n;
    take(r, c);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void send_all(int fd, pst_view_t v)
{
    while (v.n > 0) {
        ssize_t n = send(fd, v.p, v.n, MSG_DONTWAIT | MSG_NOSIGNAL);
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (n < 0 && errno == EAGAIN)
            poll(&p, 1, 1000);
        else if (n < 0)
            give_up("cannot send", pst_view_str(strerror(errno)));
        else
            v = pst_view(v.p + n, v.n - (size_t)n);
    }
}

/* The prompt's JSON, with the wish for a stream before its last brace. */
static void put_request(run_t *r, uint32_t job)
{
    static const char wish[] = ",\"stream\":true}";
    char length[64];
    pst_view_t body = bench_prompts_body(r->prompts, job);
    size_t extra = r->stream ? sizeof wish - 2 : 0;
    pst_buf_clear(&r->request);
    pst_buf_putv(&r->request, pst_buf_view(&r->headers));
    snprintf(length, sizeof length, "Content-Length: %zu\r\n\r\n", body.n + extra);
    pst_buf_puts(&r->request, length);
    pst_buf_put(&r->request, body.p, body.n - (r->stream ? 1 : 0));
    if (r->stream)
        pst_buf_puts(&r->request, wish);
}

static void begin(run_t *r, pst_ns_t due)
{
    conn_t *c = &r->conn[r->idle[r->idle_at]];
    r->idle_at = (r->idle_at + 1) % r->in_flight;
    r->idle_n--;
    c->job = r->begun++;
    c->due = due;
    c->busy = true;
    c->timed = false;
    pst_buf_clear(&c->in);
    put_request(r, c->job);
    send_all(c->fd, pst_buf_view(&r->request));
}

static pst_ns_t due_at(const run_t *r)
{
    return r->rate ? r->start + (pst_ns_t)r->begun * PST_SEC / r->rate : 0;
}

/* Those that are due; how long until the next is. */
static pst_ns_t begin_due(run_t *r)
{
    while (r->begun < r->requests && r->idle_n > 0) {
        pst_ns_t now = pst_clock_mono(), due = due_at(r);
        if (due > now)
            return due - now;
        begin(r, r->rate ? due : now);
    }
    return SILENCE;
}

static void work(run_t *r)
{
    struct epoll_event ev[EVENTS_MAX];
    r->start = pst_clock_mono();
    while (r->ended < r->requests) {
        pst_ns_t wait = begin_due(r);
        struct timespec t = {.tv_sec = (time_t)(wait / PST_SEC), .tv_nsec = (long)(wait % PST_SEC)};
        int n = epoll_pwait2(r->epoll, ev, EVENTS_MAX, &t, NULL);
        if (n == 0 && wait == SILENCE)
            give_up("the server is silent", pst_view(NULL, 0));
        for (int i = 0; i < n; i++)
            receive(r, ev[i].data.ptr);
    }
}

/* ---- the figures ------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_waits(double *us, uint32_t n, const char *prefix)
{
    qsort(us, n, sizeof *us, by_size);
    printf("\"%smin_us\": %.1f, \"%sp50_us\": %.1f, \"%sp99_us\": %.1f, \"%smax_us\": %.1f, ", prefix, us[0], prefix,
           us[n / 2], prefix, us[(uint64_t)n * 99 / 100], prefix, us[n - 1]);
}

static void measure(run_t *r)
{
    bench_watch_t w = bench_watch_start();
    work(r);
    double seconds = bench_watch_s(&w), cpu = bench_watch_cpu_s(&w);
    printf("{\"jobs\": %u, \"in_flight\": %u, \"rate\": %u, \"seconds\": %.6f, \"jobs_per_s\": %.1f, ", r->requests,
           r->in_flight, r->rate, seconds, r->requests / seconds);
    print_waits(r->us, r->requests, "");
    if (r->stream) {
        print_waits(r->first_us, r->requests, "first_");
        printf("\"events\": %llu, \"events_per_s\": %.1f, ", (unsigned long long)r->events, (double)r->events / seconds);
    }
    printf("\"cpu_s\": %.6f, \"rss_kib\": %ld}\n", cpu, bench_rss_kib());
}

/* ---- the program ------------------------------------------------------------------------------------------------- */

static const char help[] =
    "usage: bench_http --url http://ADDRESS:PORT/PATH [options]\n"
    "  --requests N         default 10000\n"
    "  --in-flight N        connections, each with a request at a time; default 64\n"
    "  --rate N             a second; without it each connection sends its next as soon as it is answered\n"
    "  --stream             ask for server-sent events\n"
    "  --header 'NAME: V'   more of a request's head; any number of them\n"
    "  --bytes N            of a request body, default 1024\n"
    "  --text-bytes N       of the user's message in it, which is what the provider answers, default 500\n"
    "  --model NAME         default gpt-test\n";

static void take_url(run_t *r, char *url)
{
    char *colon = strncmp(url, "http://", 7) == 0 ? strchr(url + 7, ':') : NULL;
    char *slash = colon ? strchr(colon, '/') : NULL;
    if (!slash)
        give_up("write http://ADDRESS:PORT/PATH instead of", pst_view_str(url));
    r->path = strdup(slash);
    *slash = '\0';
    r->host = url + 7;
    r->to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    *colon = '\0';
    if (inet_pton(AF_INET, r->host, &r->to.sin_addr) != 1)
        give_up("no address", pst_view_str(r->host));
    *colon = ':';
}

static void parse(int argc, char **argv, run_t *r)
{
    static const struct option options[] = {
        {"url", required_argument, NULL, 'u'}, {"requests", required_argument, NULL, 'c'},
        {"in-flight", required_argument, NULL, 'f'}, {"rate", required_argument, NULL, 'r'},
        {"stream", no_argument, NULL, 's'}, {"header", required_argument, NULL, 'H'},
        {"bytes", required_argument, NULL, 'n'}, {"text-bytes", required_argument, NULL, 't'},
        {"model", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'u': take_url(r, optarg); break;
        case 'c': r->requests = bench_number("requests", optarg); break;
        case 'f': r->in_flight = bench_number("in-flight", optarg); break;
        case 'r': r->rate = bench_number("rate", optarg); break;
        case 's': r->stream = true; break;
        case 'H':
            pst_buf_puts(&r->headers, optarg);
            pst_buf_puts(&r->headers, "\r\n");
            break;
        case 'n': r->bytes = bench_number("bytes", optarg); break;
        case 't': r->text_bytes = bench_number("text-bytes", optarg); break;
        case 'm': r->model = optarg; break;
        default:
            fputs(help, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (!r->path)
        give_up("--url is missing", pst_view(NULL, 0));
}

static void put_head(run_t *r)
{
    pst_buf_t own = r->headers;
    pst_buf_init(&r->headers, 0);
    pst_buf_puts(&r->headers, "POST ");
    pst_buf_puts(&r->headers, r->path);
    pst_buf_puts(&r->headers, " HTTP/1.1\r\nHost: ");
    pst_buf_puts(&r->headers, r->host);
    pst_buf_puts(&r->headers, "\r\n");
    pst_buf_putv(&r->headers, pst_buf_view(&own));
    pst_buf_release(&own);
}

static void connect_all(run_t *r)
{
    r->epoll = epoll_create1(0);
    r->conn = pst_calloc(r->in_flight, sizeof *r->conn);
    r->idle = pst_calloc(r->in_flight, sizeof *r->idle);
    for (uint32_t i = 0; i < r->in_flight; i++) {
        conn_t *c = &r->conn[i];
        int on = 1;
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&r->to, sizeof r->to))
            give_up("cannot connect", pst_view_str(strerror(errno)));
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        PST_ASSERT(epoll_ctl(r->epoll, EPOLL_CTL_ADD, c->fd, &e) == 0);
        pst_buf_init(&c->in, 0);
        r->idle[i] = i;
    }
    r->idle_n = r->in_flight;
}

static void release(run_t *r)
{
    for (uint32_t i = 0; i < r->in_flight; i++) {
        close(r->conn[i].fd);
        pst_buf_release(&r->conn[i].in);
    }
    close(r->epoll);
    bench_prompts_destroy(&r->prompts);
    pst_buf_t *bufs[] = {&r->headers, &r->request, &r->text};
    for (size_t i = 0; i < PST_COUNT(bufs); i++)
        pst_buf_release(bufs[i]);
    free((char *)r->path);
    free(r->conn);
    free(r->idle);
    free(r->us);
    free(r->first_us);
}

int main(int argc, char **argv)
{
    run_t r = {.model = "gpt-test", .requests = 10000, .in_flight = 64, .bytes = 1024, .text_bytes = 500};
    parse(argc, argv, &r);
    prctl(PR_SET_TIMERSLACK, 1UL); /* else a request leaves up to 50 us after it is due */
    bench_prompts_opts_t o = {r.model, r.bytes, r.text_bytes, false};
    r.prompts = bench_prompts_new(&o);
    if (!r.prompts) {
        fputs("bench_http: --bytes must be 100 to 2,097,152\n", stderr);
        return 2;
    }
    put_head(&r);
    r.us = pst_calloc(r.requests, sizeof *r.us);
    r.first_us = pst_calloc(r.requests, sizeof *r.first_us);
    connect_all(&r);
    measure(&r);
    release(&r);
    return 0;
}
