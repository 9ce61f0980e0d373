/* webhook_driver.c - what the gateway does with webhooks, alone: webhook_driver REDIS_URL SECRET private|public.
 *
 * Each line of its input, "URL BATCH STATUS DIALECT CREATED", is an event; it says of each "stored", "not stored", or what
 * is wrong with it.  It ends with its input.  Its log is that of client/gateway/webhooks.c. */
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "gateway/webhook_url.h"
#include "gateway/webhooks.h"
#include "proc/log.h"

typedef struct driver {
    pst_loop_t *loop;
    pst_redis_t *redis;
    pst_webhooks_t *hooks;
    char line[4096];
    size_t n;
} driver_t;

static void greet(void *arg, const redisReply *r)
{
    (void)r;
    pst_redis_up(((driver_t *)arg)->redis);
}

static void state(void *arg, bool up, const char *why)
{
    (void)arg;
    pst_log(PST_LOG_INFO, "redis", "up=%d why=\"%s\"", up, why ? why : "");
}

static void tick(void *arg)
{
    (void)arg;
}

static void on_stored(void *arg, bool stored)
{
    (void)arg;
    puts(stored ? "stored" : "not stored");
    fflush(stdout);
}

static void add(driver_t *d, const char *line)
{
    char url[PST_WEBHOOK_URL_BYTES_MAX + 1], batch[64], status[16];
    unsigned dialect;
    unsigned long long created;
    pst_webhook_t event;
    pst_errbuf_t eb = {0};
    PST_ASSERT(sscanf(line, "%2048s %63s %15s %u %llu", url, batch, status, &dialect, &created) == 5);
    PST_ASSERT(pst_id_parse(pst_view_str(batch), &event.batch) == PST_OK);
    PST_ASSERT(pst_webhook_of_status(pst_view_str(status), &event.type));
    event.dialect = (pst_webhook_dialect_t)dialect;
    event.created_s = created;
    if (pst_webhooks_add(d->hooks, pst_view_str(url), &event, on_stored, NULL, &eb))
        puts(eb.text);
    fflush(stdout);
}

static void on_input(void *arg, int fd, uint32_t events)
{
    (void)events;
    driver_t *d = arg;
    ssize_t n = read(fd, d->line + d->n, sizeof d->line - 1 - d->n);
    if (n <= 0) {
        pst_loop_stop(d->loop);
        return;
    }
    d->n += (size_t)n;
    d->line[d->n] = '\0';
    char *from = d->line;
    for (char *end; (end = strchr(from, '\n')); from = end + 1) {
        *end = '\0';
        add(d, from);
    }
    d->n -= (size_t)(from - d->line);
    memmove(d->line, from, d->n);
}

int main(int argc, char **argv)
{
    driver_t d = {.loop = pst_loop_new()};
    pst_redis_url_t url;
    pst_errbuf_t eb = {0};
    if (argc != 4 || pst_redis_url_parse(argv[1], &url, &eb))
        return 2;
    signal(SIGPIPE, SIG_IGN);
    pst_log_init("driver");
    pst_redis_events_t ev = {.greet = greet, .state = state, .tick = tick, .arg = &d};
    d.redis = pst_redis_new(d.loop, &url, false, &ev);
    pst_webhooks_opts_t o = {.loop = d.loop, .redis = d.redis, .secret = argv[2],
                             .private_too = strcmp(argv[3], "private") == 0};
    pst_err_t e = pst_webhooks_new(&o, &d.hooks, &eb);
    if (e) {
        puts(eb.text);
    } else {
        pst_loop_fd(d.loop, STDIN_FILENO, EPOLLIN, on_input, &d);
        pst_loop_prepare(d.loop, pst_webhooks_step, d.hooks);
        pst_loop_run(d.loop);
    }
    pst_redis_destroy(&d.redis);
    pst_webhooks_destroy(&d.hooks);
    pst_loop_destroy(&d.loop);
    return e ? 2 : 0;
}
