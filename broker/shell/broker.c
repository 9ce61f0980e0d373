#include "broker.h"

#include <signal.h>
#include <zmq.h>

#include "back.h"
#include "config_core.h"
#include "engine.h"
#include "front.h"
#include "live.h"
#include "metrics.h"
#include "proc/clock.h"
#include "proc/log.h"
#include "query.h"
#include "restore.h"

/* Asserted by the store; front.c keeps uploads, the workers' windows keep outcomes far below it. */
#define STORE_ROOM_BYTES ((uint64_t)2 << 30)

static pst_err_t words_of(pst_err_t e, const pst_errbuf_t *eb, pst_buf_t *words)
{
    pst_buf_puts(words, eb->text);
    return e;
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static void configure_core(pst_broker_t *b)
{
    pst_arena_t a;
    pst_core_config_t c;
    pst_arena_init(&a, 0);
    pst_config_core(b->config, &a, &c);
    pst_event_t ev = {.type = PST_EV_CONFIG, .u.config = &c};
    pst_engine_step(b, &ev);
    pst_arena_release(&a);
}

/* Addresses, store and durability stay as they were: they need a restart. */
static void reload(pst_broker_t *b)
{
    pst_config_t *next = NULL;
    pst_config_errors_t errors = {0};
    if (pst_config_load(b->config_path, &next, &errors)) {
        pst_log(PST_LOG_ERROR, "config.refused", "errors=%u first=\"%.*s\"", errors.count,
                errors.text ? (int)strcspn(errors.text, "\n") : 0, errors.text ? errors.text : "");
        pst_config_errors_release(&errors);
        return;
    }
    pst_config_errors_release(&errors);
    pst_config_destroy(&b->config);
    b->config = next;
    configure_core(b);
    pst_back_reconfigured(b->back);
    pst_log(PST_LOG_INFO, "config.loaded", "providers=%u models=%u", next->providers_n, next->models_n);
}

static void on_signal(void *arg, int sig)
{
    pst_broker_t *b = arg;
    if (sig == SIGHUP) {
        reload(b);
        return;
    }
    pst_log(PST_LOG_INFO, "broker.stop", "signal=%s", sig == SIGINT ? "INT" : "TERM");
    pst_loop_stop(b->loop);
}

/* ---- a turn ------------------------------------------------------------------------------------------------------ */

static pst_ns_t turn(void *arg, pst_ns_t now)
{
    pst_broker_t *b = arg;
    pst_sessions_read(pst_front_sessions(b->front), now);
    pst_sessions_read(pst_back_sessions(b->back), now);
    pst_ns_t next = pst_restore_turn(b->restore, now);
    next = pst_ns_min(next, pst_engine_tick(b, now));
    next = pst_ns_min(next, pst_queries_turn(b->queries, now));
    next = pst_ns_min(next, pst_back_flush(b->back, now));
    next = pst_ns_min(next, pst_sessions_write(pst_front_sessions(b->front), now));
    next = pst_ns_min(next, pst_sessions_write(pst_back_sessions(b->back), now));
    if (b->metrics)
        next = pst_ns_min(next, pst_metrics_turn(b->metrics, now));
    pst_store_flush(b->store);
    /* What the last parts led to: a session that ended, room that came back. */
    return pst_core_deadline(b->core) <= now ? 0 : next;
}

bool pst_broker_run(pst_broker_t *b)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, 0};
    pst_loop_signals(b->loop, signals, on_signal, b);
    pst_loop_prepare(b->loop, turn, b);
    pst_log(PST_LOG_INFO, "broker.ready", "clients=%s workers=%s epoch=%llu",
            pst_sessions_address(pst_front_sessions(b->front)), pst_sessions_address(pst_back_sessions(b->back)),
            (unsigned long long)pst_store_epoch(b->store));
    pst_loop_run(b->loop);
    if (!b->failed)
        pst_store_flush(b->store);
    return !b->failed;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static pst_err_t load_config(pst_broker_t *b, pst_buf_t *words)
{
    pst_config_errors_t errors = {0};
    pst_err_t e = pst_config_load(b->config_path, &b->config, &errors);
    if (e) {
        pst_buf_printf(words, "%u error%s in the configuration:\n%s", errors.count, errors.count == 1 ? "" : "s",
                       errors.text ? errors.text : "");
        while (words->n && words->p[words->n - 1] == '\n')
            words->n--;
    }
    pst_config_errors_release(&errors);
    return e;
}

static pst_err_t open_store(pst_broker_t *b, const char *url, pst_buf_t *words)
{
    if (!url || !*url) {
        pst_buf_puts(words, "no Redis is named: set redis.url or give --redis, or let `penstock up` run one");
        return PST_E_CONFIG;
    }
    pst_store_opts_t o = {.url = url, .durability = b->config->durability, .room_bytes_max = STORE_ROOM_BYTES};
    pst_store_events_t ev = {.answer = pst_engine_stored, .state = pst_engine_store_state, .room = pst_engine_store_room,
                             .fatal = pst_engine_store_fatal, .arg = b};
    pst_errbuf_t eb = {""};
    pst_err_t e = pst_store_open(b->loop, &o, &ev, &b->store, &eb);
    if (e)
        return words_of(e, &eb, words);
    if (eb.text[0])
        pst_log(PST_LOG_WARN, "store.unchecked", "what=\"%s\"", eb.text);
    b->store_up = true;
    return PST_OK;
}

static bool is_local(const char *address)
{
    static const char *const local[] = {"ipc://", "inproc://", "tcp://127.", "tcp://[::1]", "tcp://localhost"};
    for (size_t i = 0; i < PST_COUNT(local); i++)
        if (strncmp(address, local[i], strlen(local[i])) == 0)
            return true;
    return false;
}

static void warn_of_open_address(const char *key, const char *address)
{
    if (!is_local(address))
        pst_log(PST_LOG_WARN, "broker.open", "key=%s address=%s advice=\"whoever reaches it may use it: keep it on a "
                "private network\"", key, address);
}

/* Sockets come last, so that nobody is listened to before the state is there. */
static pst_err_t listen_all(pst_broker_t *b, const pst_broker_args_t *args, pst_buf_t *words)
{
    const char *clients = args->clients ? args->clients : b->config->broker_clients;
    const char *workers = args->workers ? args->workers : b->config->broker_workers;
    const char *metrics = args->metrics ? args->metrics : b->config->broker_metrics;
    pst_errbuf_t eb = {""};
    pst_err_t e = pst_front_new(b, clients, &b->front, &eb);
    if (!e)
        e = pst_back_new(b, workers, &b->back, &eb);
    if (!e && metrics && *metrics)
        e = pst_metrics_new(b, metrics, &b->metrics, &eb);
    if (e)
        return words_of(e, &eb, words);
    warn_of_open_address("broker.clients", clients);
    warn_of_open_address("broker.workers", workers);
    return PST_OK;
}

static pst_err_t begin(pst_broker_t *b, const pst_broker_args_t *args, pst_buf_t *words)
{
    pst_errbuf_t eb = {""};
    pst_err_t e = load_config(b, words);
    if (!e)
        e = open_store(b, args->redis ? args->redis : b->config->redis_url, words);
    if (e)
        return e;
    configure_core(b);
    e = pst_restore_new(b, &b->restore, &eb);
    if (e)
        return words_of(e, &eb, words);
    return listen_all(b, args, words);
}

pst_err_t pst_broker_new(const pst_broker_args_t *args, pst_broker_t **ret, pst_buf_t *words)
{
    pst_broker_t *b = pst_calloc(1, sizeof *b);
    b->config_path = args->config_path;
    b->loop = pst_loop_new();
    b->zmq = zmq_ctx_new();
    PST_ASSERT(b->zmq);
    b->seed = pst_random_u64();
    pst_arena_init(&b->arena, 0);
    pst_core_opts_t o = {.seed = b->seed};
    b->core = pst_core_new(&o);
    b->queries = pst_queries_new(b);
    b->live = pst_live_new(b);
    pst_err_t e = begin(b, args, words);
    if (e) {
        pst_broker_destroy(&b);
        return e;
    }
    *ret = b;
    return PST_OK;
}

void pst_broker_destroy(pst_broker_t **pb)
{
    pst_broker_t *b = pst_take(pb);
    if (!b)
        return;
    pst_metrics_destroy(&b->metrics);
    pst_store_destroy(&b->store);
    pst_queries_destroy(&b->queries);
    pst_live_destroy(&b->live);
    pst_front_destroy(&b->front);
    pst_back_destroy(&b->back);
    pst_restore_destroy(&b->restore);
    pst_core_destroy(&b->core);
    pst_config_destroy(&b->config);
    zmq_ctx_term(b->zmq);
    pst_arena_release(&b->arena);
    pst_loop_destroy(&b->loop);
    free(b);
}
