/* pst-sim-provider: an AI provider that answers by echo, and fails as told.  See README.md. */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64

typedef struct options {
    uint16_t port;
    unsigned threads;
    bool http1; /* no HTTP/2 by ALPN */
    const char *tls_cert, *tls_key, *self_signed;
    char cert_path[4096], key_path[4096]; /* in self_signed */
    sim_server_opts_t server;
} options_t;

static int stop_fd;

static void on_stop(int sig)
{
    (void)sig;
    uint64_t one = 1;
    ssize_t ignored = write(stop_fd, &one, sizeof one);
    (void)ignored;
}

static void usage(FILE *f)
{
    fputs("usage: pst-sim-provider [options]\n"
          "  --port N: 0 (the default) chooses one; the first line of output says which\n"
          "  --threads N: loops that share the port\n"
          "  --tls-cert FILE, --tls-key FILE: TLS, with HTTP/2 for clients that offer it\n"
          "  --self-signed DIR: TLS with DIR/cert.pem and DIR/key.pem, made if they are not there\n"
          "  --http1: no HTTP/2 over TLS\n"
          "  --http2: without TLS, HTTP/2 for clients that begin with it\n"
          "  --h2-streams N: at once on a connection (default 256)\n"
          "  --seed N: same seed, same faults and latencies\n"
          "  --track: count the calls of every prompt text\n"
          "  --good-key K: repeatable; once given, other keys are bad\n"
          "  --model NAME:key=value,…: any option below for one model; repeatable\n"
          "  --outage FROM_MS:TO_MS | on | off\n",
          f);
    sim_settings_help(f);
}

static _Noreturn void refuse(const char *what, const char *value)
{
    fprintf(stderr, "pst-sim-provider: %s: %s (see --help)\n", what, value);
    exit(2);
}

static uint64_t read_number(const char *name, const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end || errno || n > most)
        refuse(name, text);
    return n;
}

static void set(sim_world_t *w, sim_model_t *model, pst_view_t name, pst_view_t value,
                const char *shown)
{
    sim_change_t change;
    pst_err_t e = sim_change_read(name, value, &change);
    if (e == PST_E_NOT_FOUND)
        refuse("no such option", shown);
    if (e != PST_OK)
        refuse("not a value it may have", shown);
    sim_world_change(w, model, &change);
}

/* NAME:key=value,…  NAME may have colons: the list begins after the last before the first '='. */
static void set_model(sim_world_t *w, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *colon = equals ? memrchr(text, ':', (size_t)(equals - text)) : NULL;
    if (!colon || colon == text) {
        const char *last = strrchr(text, ':');
        if (equals || (last && last[1]))
            refuse("--model", text);
        sim_world_model(w, pst_view(text, last ? (size_t)(last - text) : strlen(text)));
        return;
    }
    sim_model_t *model = sim_world_model(w, pst_view(text, (size_t)(colon - text)));
    for (const char *p = colon + 1; *p;) {
        size_t n = strcspn(p, ",");
        const char *eq = memchr(p, '=', n);
        if (!eq)
            refuse("--model", text);
        size_t name_n = (size_t)(eq - p);
        set(w, model, pst_view(p, name_n), pst_view(eq + 1, n - name_n - 1), text);
        p += p[n] ? n + 1 : n;
    }
}

/* Options that are not settings of a model.  False if it is none of them. */
static bool set_general(sim_world_t *w, options_t *o, const char *name, const char *value)
{
    if (strcmp(name, "port") == 0)
        o->port = (uint16_t)read_number(name, value, UINT16_MAX);
    else if (strcmp(name, "threads") == 0)
        o->threads = (unsigned)read_number(name, value, THREADS_MAX);
    else if (strcmp(name, "seed") == 0)
        w->seed = read_number(name, value, UINT64_MAX);
    else if (strcmp(name, "model") == 0)
        set_model(w, value);
    else if (strcmp(name, "tls-cert") == 0)
        o->tls_cert = value;
    else if (strcmp(name, "tls-key") == 0)
        o->tls_key = value;
    else if (strcmp(name, "self-signed") == 0)
        o->self_signed = value;
    else if (strcmp(name, "h2-streams") == 0)
        o->server.h2_streams = (unsigned)read_number(name, value, INT32_MAX);
    else if (strcmp(name, "good-key") != 0)
        return false;
    else if (sim_world_set_key(w, pst_view_str(value), true) != PST_OK)
        refuse("--good-key", value);
    return true;
}

/* Options without a value. */
static bool set_flag(sim_world_t *w, options_t *o, const char *name)
{
    if (strcmp(name, "track") == 0)
        w->track_all = true;
    else if (strcmp(name, "http1") == 0)
        o->http1 = true;
    else if (strcmp(name, "http2") == 0)
        o->server.http2 = true;
    else
        return false;
    return true;
}

/* --name value and --name=value. */
static void read_options(int argc, char **argv, sim_world_t *w, options_t *o)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0) {
            usage(stdout);
            exit(0);
        }
        if (strncmp(name, "--", 2) != 0)
            refuse("not an option", name);
        name += 2;
        if (set_flag(w, o, name))
            continue;
        char word[64];
        const char *equals = strchr(name, '=');
        size_t n = equals ? (size_t)(equals - name) : strlen(name);
        if (n >= sizeof word)
            refuse("no such option", name);
        memcpy(word, name, n);
        word[n] = '\0';
        const char *value = equals ? equals + 1 : argv[++i];
        if (!value)
            refuse("a value is missing", word);
        if (!set_general(w, o, word, value))
            set(w, NULL, pst_view_str(word), pst_view_str(value), word);
    }
}

static void set_up_tls(options_t *o)
{
    pst_errbuf_t eb;
    if (o->self_signed) {
        if (o->tls_cert || o->tls_key)
            refuse("--self-signed", "not with --tls-cert or --tls-key");
        if (!sim_tls_self_signed(o->self_signed, &eb))
            refuse("--self-signed", eb.text);
        snprintf(o->cert_path, sizeof o->cert_path, "%s/cert.pem", o->self_signed);
        snprintf(o->key_path, sizeof o->key_path, "%s/key.pem", o->self_signed);
        o->tls_cert = o->cert_path;
        o->tls_key = o->key_path;
    }
    if (!o->tls_cert != !o->tls_key)
        refuse("--tls-cert, --tls-key", "one goes with the other");
    if (!o->tls_cert) {
        if (o->http1)
            refuse("--http1", "without TLS it is the default");
        return;
    }
    if (o->server.http2)
        refuse("--http2", "over TLS the client chooses");
    o->server.tls = sim_tls_config_new(o->tls_cert, o->tls_key, !o->http1, &eb);
    if (!o->server.tls)
        refuse("TLS", eb.text);
}

/* *port 0 is replaced by the one chosen. */
static int listen_on(uint16_t *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(*port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t n = sizeof a;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0) {
        fprintf(stderr, "pst-sim-provider: cannot listen on 127.0.0.1:%u: %s\n", *port,
                strerror(errno));
        exit(1);
    }
    *port = ntohs(a.sin_port);
    return fd;
}

static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0) {
        r.rlim_cur = r.rlim_max;
        setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void *run_thread(void *server)
{
    sim_server_run(server);
    return NULL;
}

static void serve(sim_world_t *w, options_t *o)
{
    sim_server_t *server[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    for (unsigned i = 0; i < o->threads; i++)
        server[i] = sim_server_new(w, &o->server, listen_on(&o->port), stop_fd);
    printf("listening 127.0.0.1:%u\n", o->port);
    fflush(stdout);
    for (unsigned i = 1; i < o->threads; i++)
        PST_ASSERT(pthread_create(&thread[i], NULL, run_thread, server[i]) == 0);
    sim_server_run(server[0]);
    for (unsigned i = 1; i < o->threads; i++)
        pthread_join(thread[i], NULL);
    for (unsigned i = 0; i < o->threads; i++)
        sim_server_destroy(&server[i]);
}

int main(int argc, char **argv)
{
    options_t o = {.threads = 1, .server.h2_streams = 256};
    sim_world_t *w = sim_world_new();
    read_options(argc, argv, w, &o);
    o.threads = PST_MAX(o.threads, 1u);
    set_up_tls(&o);
    signal(SIGPIPE, SIG_IGN); /* OpenSSL writes with write(2) */
    raise_file_limit();
    stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    PST_ASSERT(stop_fd >= 0);
    struct sigaction sa = {.sa_handler = on_stop, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGINT, &sa, NULL);
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    w->start = (pst_ns_t)ts.tv_sec * PST_SEC + (pst_ns_t)ts.tv_nsec;
    serve(w, &o);
    sim_tls_config_destroy(&o.server.tls);
    sim_world_destroy(&w);
    close(stop_fd);
    return 0;
}
