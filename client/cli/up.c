/* up.c - `penstock up`: a whole cluster as children of one process in the foreground.
 *
 * Starts Redis (unless the configuration names one), the broker, a worker for each provider, the HTTP gateway, each when the
 * one before answers; says so on stdout; then starts again whatever dies, until a signal.  Stops in the opposite order: workers
 * finish their calls, the broker stores what they say, Redis writes it down.  A second signal is impatient. */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/child.h"
#include "cli/cli.h"
#include "cli/private_redis.h"
#include "proc/clock.h"
#include "proc/log.h"

#define ASK_EVERY (20 * PST_MS)       /* whether Redis answers */
#define HELLO_TIMEOUT_MS 250
#define LEFTOVER_WAIT (5 * PST_SEC)   /* for the broker of an `up` that was killed */
/* Of workers.  Everybody waits for the broker and Redis, which have little to do each time: on a machine that is full of
 * a batch they go first, or a single job beside it waits twice as long at each step. */
#define WORKER_NICENESS 5
#define WORKERS_SETTLE (300 * PST_MS) /* a worker that lives so long has read its configuration and key */

typedef struct up {
    const pst_cli_args_t *args;
    pst_config_t *config;
    pst_private_redis_t redis_home;
    int signals;              /* signalfd */
    unsigned stops;           /* SIGINT and SIGTERM so far */
    bool reload;              /* SIGHUP came */
    pst_child_t redis, broker, gateway; /* argc 0: there is none */
    pst_child_t **worker;     /* one a provider, in no order */
    size_t workers;
} up_t;

/* Children. */

static pst_child_t *child_of(up_t *u, pid_t pid)
{
    if (u->redis.pid == pid)
        return &u->redis;
    if (u->broker.pid == pid)
        return &u->broker;
    if (u->gateway.pid == pid)
        return &u->gateway;
    for (size_t i = 0; i < u->workers; i++) {
        if (u->worker[i]->pid == pid)
            return u->worker[i];
    }
    return NULL;
}

static void reap(up_t *u, pst_ns_t now)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        pst_child_t *c = child_of(u, pid);
        if (c)
            pst_child_ended(c, status, now);
    }
}

static void start_due(pst_child_t *c, pst_ns_t now, pst_ns_t *next)
{
    if (c->start_at <= now)
        pst_child_start(c, now);
    *next = pst_ns_min(*next, c->start_at);
}

/* Starts whatever is due; when the next one is. */
static pst_ns_t start_all_due(up_t *u, pst_ns_t now)
{
    pst_ns_t next = PST_NEVER;
    start_due(&u->redis, now, &next);
    start_due(&u->broker, now, &next);
    start_due(&u->gateway, now, &next);
    for (size_t i = 0; i < u->workers; i++)
        start_due(u->worker[i], now, &next);
    return next;
}

static void read_signals(up_t *u)
{
    struct signalfd_siginfo info;
    while (read(u->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP)
            u->reload = true;
        else if (info.ssi_signo != SIGCHLD)
            u->stops++;
    }
}

/* Waits for a signal, a child's end or start, at most until `until`. */
static void turn(up_t *u, pst_ns_t until)
{
    pst_ns_t now = pst_clock_mono();
    pst_ns_t wait = pst_ns_since(pst_ns_min(until, start_all_due(u, now)), now);
    struct pollfd p = {.fd = u->signals, .events = POLLIN};
    poll(&p, 1, wait >= 60 * PST_SEC ? 60000 : (int)((wait + PST_MS - 1) / PST_MS));
    read_signals(u);
    reap(u, pst_clock_mono());
}

static bool watch_signals(up_t *u)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, NULL);
    u->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    return u->signals >= 0;
}

/* Making them. */

static void add_config(const up_t *u, pst_child_t *c)
{
    if (!u->args->config)
        return;
    pst_child_arg(c, "--config");
    pst_child_arg(c, "%s", u->args->config);
}

static int no_program(const char *name)
{
    return pst_cli_fail(EXIT_FAILED, "%s is neither beside penstock nor in PATH: install it there", name);
}

static int make_redis(up_t *u)
{
    if (u->config->redis_url)
        return EXIT_WELL;
    if (u->config->durability == PST_DUR_REPLICATED)
        return pst_cli_fail(EXIT_FAILED,
                            "durability \"replicated\" needs a Redis with a replica: set redis.url, or use "
                            "\"fsynced\"");
    int code = pst_private_redis_open(&u->redis_home, u->args->data);
    return code ? code : pst_private_redis_child(&u->redis_home, u->config, &u->redis);
}

static int make_broker(up_t *u)
{
    char program[4096];
    if (!pst_program_find("penstock-broker", true, program, sizeof program))
        return no_program("penstock-broker");
    pst_child_init(&u->broker, "broker", program);
    add_config(u, &u->broker);
    if (u->redis.argc > 0) {
        pst_child_arg(&u->broker, "--redis");
        pst_child_arg(&u->broker, "unix://%s", u->redis_home.socket);
    }
    return EXIT_WELL;
}

static int make_gateway(up_t *u)
{
    char program[4096], address[256];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return pst_cli_fail(EXIT_FAILED, "/proc is not mounted: it is needed to start the gateway");
    program[n] = '\0';
    pst_child_init(&u->gateway, "gateway", program);
    pst_child_arg(&u->gateway, "gateway");
    add_config(u, &u->gateway);
    pst_child_arg(&u->gateway, "--broker");
    pst_child_arg(&u->gateway, "%s", pst_cli_reachable(u->config->broker_clients, address, sizeof address));
    if (u->redis.argc > 0) {
        pst_child_arg(&u->gateway, "--redis");
        pst_child_arg(&u->gateway, "unix://%s", u->redis_home.socket);
    }
    return EXIT_WELL;
}

static pst_child_t *find_worker(const up_t *u, const char *provider)
{
    for (size_t i = 0; i < u->workers; i++) {
        if (u->worker[i]->wanted && strcmp(u->worker[i]->name + sizeof "worker " - 1, provider) == 0)
            return u->worker[i];
    }
    return NULL;
}

static int add_worker(up_t *u, const char *provider)
{
    char program[4096], address[256], name[300];
    if (!pst_program_find("penstock-worker", true, program, sizeof program))
        return no_program("penstock-worker");
    pst_child_t *c = pst_alloc(sizeof *c);
    snprintf(name, sizeof name, "worker %s", provider);
    pst_child_init(c, name, program);
    c->niceness = WORKER_NICENESS;
    add_config(u, c);
    pst_child_arg(c, "--broker");
    pst_child_arg(c, "%s", pst_cli_reachable(u->config->broker_workers, address, sizeof address));
    pst_child_arg(c, "--provider");
    pst_child_arg(c, "%s", provider);
    u->worker = pst_realloc(u->worker, (u->workers + 1) * sizeof(pst_child_t *));
    u->worker[u->workers++] = c;
    pst_child_start(c, pst_clock_mono());
    return EXIT_WELL;
}

/* One for each provider of the configuration that has none. */
static int add_workers(up_t *u)
{
    for (uint32_t i = 0; i < u->config->providers_n; i++) {
        const char *provider = u->config->providers[i].name;
        int code = find_worker(u, provider) ? EXIT_WELL : add_worker(u, provider);
        if (code)
            return code;
    }
    return EXIT_WELL;
}

/* Those whose provider is no longer in the configuration finish what they have. */
static void drop_workers(up_t *u)
{
    for (size_t i = 0; i < u->workers; i++) {
        pst_view_t provider = pst_view_str(u->worker[i]->name + sizeof "worker " - 1);
        if (u->worker[i]->wanted && pst_config_provider_find(u->config, provider) < 0)
            pst_child_stop(u->worker[i], SIGTERM);
    }
}

/* Starting. */

static int died(const pst_child_t *c, const char *where)
{
    char how[32];
    return pst_cli_fail(EXIT_FAILED, "%s did not start (%s): see %s", c->name, pst_child_how(c, how, sizeof how),
                        where);
}

/* Started once and gone: before everything was ready nothing is tried twice. */
static bool failed_to_start(const pst_child_t *c)
{
    return c->pid == 0;
}

static int start_redis(up_t *u)
{
    int code = make_redis(u);
    if (code || u->redis.argc == 0)
        return code;
    char log[4200];
    snprintf(log, sizeof log, "%s/redis.log", u->redis_home.dir);
    pst_child_start(&u->redis, pst_clock_mono());
    while (!u->stops && !pst_private_redis_ready(&u->redis_home)) {
        turn(u, pst_ns_add(pst_clock_mono(), ASK_EVERY));
        if (failed_to_start(&u->redis))
            return died(&u->redis, log);
    }
    return EXIT_WELL;
}

/* Whether somebody listens on tcp://HOST:PORT of this machine.  Of other addresses, and of those that cannot be read,
 * the broker will say itself what is wrong. */
static bool in_use(const char *address)
{
    char host[128], port[16];
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *a = NULL;
    if (sscanf(address, "tcp://%127[^:]:%15[0-9]", host, port) != 2 ||
        getaddrinfo(strcmp(host, "*") == 0 ? NULL : host, port, &hints, &a) != 0)
        return false;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    bool used = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
                bind(fd, a->ai_addr, a->ai_addrlen) < 0 && errno == EADDRINUSE;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    return used;
}

/* Another broker on our address would answer in the place of ours.  That of a killed `up` is on its way out: it may
 * take a moment. */
static int check_address(up_t *u, const char *address, const char *key)
{
    pst_ns_t give_up = pst_ns_add(pst_clock_mono(), LEFTOVER_WAIT);
    while (in_use(address)) {
        if (u->stops || pst_clock_mono() >= give_up)
            return pst_cli_fail(EXIT_FAILED, "%s is in use: stop what listens there (another penstock up?), or change %s",
                                address, key);
        turn(u, pst_ns_add(pst_clock_mono(), ASK_EVERY));
    }
    return EXIT_WELL;
}

static bool broker_answers(const char *address)
{
    pst_client_opts_t o = {.broker = address, .timeout_ms = HELLO_TIMEOUT_MS};
    pst_client_t *c = NULL;
    bool yes = pst_client_new(&o, &c) == PST_OK && pst_client_hello(c) == PST_OK;
    pst_client_destroy(&c);
    return yes;
}

static int start_broker(up_t *u)
{
    int code = make_broker(u);
    if (!code)
        code = check_address(u, u->config->broker_clients, "broker.clients");
    if (!code)
        code = check_address(u, u->config->broker_workers, "broker.workers");
    if (code)
        return code;
    char address[256];
    const char *reach = pst_cli_reachable(u->config->broker_clients, address, sizeof address);
    pst_child_start(&u->broker, pst_clock_mono());
    while (!u->stops) {
        bool answers = broker_answers(reach);
        turn(u, 0);
        if (failed_to_start(&u->broker))
            return died(&u->broker, "its message above");
        if (answers)
            return EXIT_WELL;
    }
    return EXIT_WELL;
}

/* Whether HTTP on that socket says that it is ready. */
static bool says_ready(int fd)
{
    static const char question[] = "GET /readyz HTTP/1.0\r\n\r\n";
    struct timeval patience = {.tv_usec = HELLO_TIMEOUT_MS * 1000};
    char answer[16] = "";
    return setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) == 0 &&
           send(fd, question, sizeof question - 1, MSG_NOSIGNAL) == (ssize_t)sizeof question - 1 &&
           recv(fd, answer, sizeof answer - 1, MSG_WAITALL) > 0 && strstr(answer, " 200");
}

/* Whether the gateway at HOST:PORT has all it needs. */
static bool gateway_answers(const char *listen)
{
    char host[128];
    const char *colon = strrchr(listen, ':');
    bool bracketed = listen[0] == '[' && colon && colon[-1] == ']';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *a = NULL;
    if (!colon)
        return false;
    snprintf(host, sizeof host, "%.*s", (int)(colon - listen - 2 * bracketed), listen + bracketed);
    if (getaddrinfo(host, colon + 1, &hints, &a) != 0)
        return false;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool yes = fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) == 0 && says_ready(fd);
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    return yes;
}

/* A port that is taken ends the gateway at once: it says so itself. */
static int start_gateway(up_t *u)
{
    const char *listen = u->config->gateway_listen;
    int code = *listen ? make_gateway(u) : EXIT_WELL;
    if (code || !*listen)
        return code;
    char address[300];
    snprintf(address, sizeof address, "tcp://%s", listen);
    if ((code = check_address(u, address, "gateway.listen")))
        return code;
    pst_child_start(&u->gateway, pst_clock_mono());
    while (!u->stops && !gateway_answers(listen)) {
        turn(u, pst_ns_add(pst_clock_mono(), ASK_EVERY));
        if (failed_to_start(&u->gateway))
            return died(&u->gateway, "its message above");
    }
    return EXIT_WELL;
}

static int start_workers(up_t *u)
{
    int code = add_workers(u);
    pst_ns_t until = pst_ns_add(pst_clock_mono(), WORKERS_SETTLE);
    while (!code && !u->stops && u->workers && pst_clock_mono() < until)
        turn(u, until);
    if (!u->workers)
        pst_cli_say("the configuration has no provider: set a key such as OPENAI_API_KEY, or write penstock.yaml");
    return code;
}

static int start(up_t *u)
{
    int code = start_redis(u);
    if (!code && !u->stops)
        code = start_broker(u);
    if (!code && !u->stops)
        code = start_workers(u);
    if (!code && !u->stops)
        code = start_gateway(u);
    if (code || u->stops)
        return code;
    char address[256];
    printf("penstock ready");
    if (*u->config->gateway_listen)
        printf(" http=http://%s", u->config->gateway_listen);
    printf(" broker=%s\n", pst_cli_reachable(u->config->broker_clients, address, sizeof address));
    return pst_cli_end_stdout();
}

/* Running. */

static void tell(const pst_child_t *c)
{
    if (c->pid > 0 && c->wanted && pst_ns_since(pst_clock_mono(), c->started) > WORKERS_SETTLE)
        kill(c->pid, SIGHUP);
}

/* A configuration that does not check is refused; the running one stays.  Only those that run long enough to listen are
 * told: to the others SIGHUP would be the end, and they read the new file anyway. */
static void reload(up_t *u)
{
    u->reload = false;
    pst_config_t *config = NULL;
    if (pst_cli_config(u->args, &config) != EXIT_WELL) {
        pst_log(PST_LOG_ERROR, "config.refused", NULL);
        return;
    }
    pst_config_destroy(&u->config);
    u->config = config;
    drop_workers(u);
    /* Workers first: the broker frees what is parked, and its next call is to find the new key. */
    for (size_t i = 0; i < u->workers; i++)
        tell(u->worker[i]);
    tell(&u->broker);
    tell(&u->gateway);
    (void)add_workers(u);
    pst_log(PST_LOG_INFO, "config.reloaded", "providers=%u", config->providers_n);
}

static void run(up_t *u)
{
    while (!u->stops) {
        turn(u, PST_NEVER);
        if (u->reload)
            reload(u);
    }
}

/* Stopping. */

static size_t running_workers(const up_t *u)
{
    size_t n = 0;
    for (size_t i = 0; i < u->workers; i++)
        n += u->worker[i]->pid > 0;
    return n;
}

/* The first signal began the stop; a second one cuts short what it waits for. */
static void hurry(up_t *u, pst_child_t *c, unsigned patience)
{
    if (c->pid > 0 && u->stops > patience)
        kill(c->pid, SIGKILL);
}

static void stop_workers(up_t *u)
{
    for (size_t i = 0; i < u->workers; i++)
        pst_child_stop(u->worker[i], SIGTERM);
    if (running_workers(u))
        pst_log(PST_LOG_INFO, "up.stopping", "workers=%zu", running_workers(u));
    while (running_workers(u)) {
        turn(u, PST_NEVER);
        for (size_t i = 0; i < u->workers; i++)
            hurry(u, u->worker[i], 1);
    }
}

/* Redis is killed last of all, at a third signal: its file is worth a moment. */
static void stop_child(up_t *u, pst_child_t *c, unsigned patience)
{
    pst_child_stop(c, SIGTERM);
    while (c->pid > 0) {
        hurry(u, c, patience);
        turn(u, PST_NEVER);
    }
}

static void stop(up_t *u)
{
    u->broker.wanted = u->redis.wanted = false;
    u->broker.start_at = u->redis.start_at = PST_NEVER;
    stop_child(u, &u->gateway, 1);
    stop_workers(u);
    stop_child(u, &u->broker, 1);
    stop_child(u, &u->redis, 2);
}

static void release(up_t *u)
{
    for (size_t i = 0; i < u->workers; i++) {
        pst_child_release(u->worker[i]);
        free(u->worker[i]);
    }
    free(u->worker);
    pst_child_release(&u->gateway);
    pst_child_release(&u->broker);
    pst_child_release(&u->redis);
    pst_private_redis_close(&u->redis_home);
    pst_config_destroy(&u->config);
    if (u->signals >= 0)
        close(u->signals);
}

int pst_cli_up(const pst_cli_args_t *a)
{
    up_t u = {.args = a, .signals = -1, .redis_home = {.up_lock = -1, .redis_lock = -1}};
    u.redis.start_at = u.broker.start_at = u.gateway.start_at = PST_NEVER;
    pst_log_init("up");
    int code = pst_cli_config(a, &u.config);
    if (code)
        return code;
    if (!watch_signals(&u))
        code = pst_cli_fail(EXIT_FAILED, "signals cannot be watched: %s", strerror(errno));
    if (!code)
        code = start(&u);
    if (!code)
        run(&u);
    stop(&u);
    release(&u);
    return code;
}
