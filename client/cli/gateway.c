/* gateway.c - `penstock gateway`: HTTP before a broker and a Redis, in the foreground (client/gateway/gateway.h). */
#include <malloc.h>
#include <signal.h>

#include "cli/cli.h"
#include "gateway/gateway.h"
#include "proc/clock.h"
#include "proc/log.h"

#define LARGE_BYTES (256 << 10)
#define DRAIN_MAX (30 * PST_SEC) /* for answers under way */

typedef struct serving {
    const pst_cli_args_t *args;
    pst_loop_t *loop;
    pst_config_t *config;
    pst_gateway_t *gateway;
    unsigned stops;
    pst_ns_t stop_by;
} serving_t;

/* What does not check is refused; the running configuration stays. */
static void reload(serving_t *s)
{
    pst_config_t *config = NULL;
    if (pst_cli_config(s->args, &config) != EXIT_WELL) {
        pst_log(PST_LOG_ERROR, "config.refused", NULL);
        return;
    }
    pst_gateway_config(s->gateway, config);
    pst_config_destroy(&s->config);
    s->config = config;
    pst_log(PST_LOG_INFO, "config.reloaded", NULL);
}

static void on_signal(void *arg, int sig)
{
    serving_t *s = arg;
    if (sig == SIGHUP) {
        reload(s);
        return;
    }
    s->stop_by = s->stops++ ? 0 : pst_ns_add(pst_loop_now(s->loop), DRAIN_MAX);
}

static pst_ns_t prepare(void *arg, pst_ns_t now)
{
    serving_t *s = arg;
    if (!s->stops)
        return PST_NEVER;
    if (pst_gateway_drain(s->gateway) || now >= s->stop_by)
        pst_loop_stop(s->loop);
    return pst_ns_add(now, 50 * PST_MS);
}

static int serve(serving_t *s)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};
    const char *env = getenv("PENSTOCK_BROKER");
    const char *broker = s->args->broker ? s->args->broker : env && *env ? env : s->config->broker_clients;
    char reach[256];
    pst_gateway_opts_t o = {.config = s->config,
                            .broker = pst_cli_reachable(broker, reach, sizeof reach),
                            .redis = s->args->redis ? s->args->redis : s->config->redis_url,
                            .listen = s->args->listen ? s->args->listen : s->config->gateway_listen};
    if (!o.redis)
        return pst_cli_fail(EXIT_FAILED, "no Redis is named: set redis.url, or give --redis (`penstock up` starts its own gateway)");
    if (!*o.listen)
        return pst_cli_fail(EXIT_FAILED, "gateway.listen is off: give --listen HOST:PORT");
    pst_errbuf_t eb;
    pst_loop_signals(s->loop, signals, on_signal, s);
    if (pst_gateway_new(s->loop, &o, &s->gateway, &eb))
        return pst_cli_fail(EXIT_FAILED, "%s", eb.text);
    pst_loop_prepare(s->loop, prepare, s);
    pst_log(PST_LOG_INFO, "gateway.ready", "listen=%s port=%u", o.listen, pst_gateway_port(s->gateway));
    pst_loop_run(s->loop);
    return EXIT_WELL;
}

int pst_cli_gateway(const pst_cli_args_t *a)
{
    serving_t s = {.args = a};
    pst_log_init("gateway");
    /* bodies and answers of megabytes go back to the system when they are let go: by itself glibc stops that after the first */
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
    int code = pst_cli_config(a, &s.config);
    if (code)
        return code;
    s.loop = pst_loop_new();
    code = s.loop ? serve(&s) : pst_cli_fail(EXIT_FAILED, "out of memory");
    pst_gateway_destroy(&s.gateway);
    pst_loop_destroy(&s.loop);
    pst_config_destroy(&s.config);
    return code;
}
