#include "worker.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "proc/clock.h"
#include "proc/log.h"
#include "session.h"

/* Packs in memory.  From FULL on no more work is offered than there is; what was on its way may come up to MAX,
 * and what comes then goes back.  Work is offered again when ROOMY is reached. */
#define PACKS_BYTES_MAX ((size_t)512 << 20)
#define PACKS_BYTES_FULL (PACKS_BYTES_MAX / 4 * 3)
#define PACKS_BYTES_ROOMY (PACKS_BYTES_MAX / 2)
/* Of starting runs, some sixty: what is urgent waits for the end of a turn, coming and going.  With a thousand a turn
 * one job beside a million took 9 ms instead of 4 to 5, and no more were run. */
#define STEPS_PER_TURN 2
/* What is left for acknowledgements after the calls were cut. */
#define CUT_GRACE PST_SEC

/* WORKING --first signal--> DRAINING --nothing left--> LEAVING (BYE)
 *                              |                          ^
 *                              +--timeout, second signal--+ by way of CUT, a moment for acknowledgements */
typedef enum phase { WORKING, DRAINING, CUT, LEAVING } phase_t;

struct pst_worker {
    const pst_worker_args_t *args;
    pst_loop_t *loop;
    pst_http_t *http;
    pst_packs_t *packs;
    pst_outbox_t *outbox;
    pst_pieces_t *pieces;
    pst_pools_t *pools;
    pst_session_t *session;
    phase_t phase;
    pst_ns_t until;     /* DRAINING, CUT: at the latest */
    bool offer_changed; /* a CAPACITY is due */
    bool pressed;       /* packs fill their memory, and the offer says so */
    uint64_t refused;   /* tasks when the offer was made */
};

/* ---- session --------------------------------------------------------------------------------- */

static void *arena_array(pst_arena_t *a, size_t n, size_t size)
{
    void *p = pst_arena_get(a, PST_MAX(n, (size_t)1) * size);
    PST_ASSERT(p);
    return p;
}

static uint32_t fill_offer(pst_worker_t *w, pst_arena_t *a, pst_pool_capacity_t **ret)
{
    *ret = arena_array(a, PST_WORKER_PROVIDERS_MAX, sizeof **ret);
    w->offer_changed = false;
    return pst_pools_capacity(w->pools, *ret);
}

static void on_hello(void *arg, pst_arena_t *a, pst_msg_hello_t *ret)
{
    pst_worker_t *w = arg;
    ret->pools_n = fill_offer(w, a, &ret->pools);
    uint32_t max = PST_MIN(pst_pools_runs(w->pools) + pst_outbox_outcomes(w->outbox), PST_RUNNING_MAX);
    ret->running = arena_array(a, max, sizeof *ret->running);
    ret->running_n = pst_pools_refs(w->pools, ret->running, max);
    ret->running_n += pst_outbox_refs(w->outbox, ret->running + ret->running_n, max - ret->running_n);
}

static void on_up(void *arg)
{
    pst_worker_t *w = arg;
    pst_log(PST_LOG_DEBUG, "session.up", "runs=%u unacknowledged=%u", pst_pools_runs(w->pools),
            pst_outbox_outcomes(w->outbox));
}

static void on_lost(void *arg)
{
    pst_worker_t *w = arg;
    pst_pools_lost(w->pools);
    pst_packs_forget(w->packs);
    pst_outbox_rewind(w->outbox);
}

static pst_err_t on_tasks(void *arg, const pst_msg_tasks_t *m)
{
    pst_worker_t *w = arg;
    for (uint32_t i = 0; i < m->groups_n; i++) {
        const pst_task_group_t *g = &m->groups[i];
        pst_pack_t *pack;
        pst_err_t e = pst_packs_take(w->packs, g, &pack);
        if (e)
            return e;
        e = pst_pools_take(w->pools, g, pack);
        pst_packs_settle(w->packs, pack, g->last);
        if (e)
            return e;
    }
    return PST_OK;
}

static void on_revoke(void *arg, const pst_msg_revoke_t *m)
{
    pst_worker_t *w = arg;
    for (uint32_t i = 0; i < m->refs_n; i++)
        pst_pools_revoke(w->pools, &m->refs[i]);
}

static void on_ack(void *arg, uint64_t number)
{
    pst_worker_t *w = arg;
    (void)pst_outbox_ack(w->outbox, number);
}

static bool next_message(void *arg, pst_arena_t *a, pst_msg_t *ret)
{
    pst_worker_t *w = arg;
    if (w->offer_changed) {
        ret->type = PST_MSG_CAPACITY;
        ret->u.capacity.pools_n = fill_offer(w, a, &ret->u.capacity.pools);
        return true;
    }
    /* Before the outcomes of the answers they are of. */
    if (pst_pieces_next(w->pieces, &ret->u.pieces)) {
        ret->type = PST_MSG_PIECES;
        return true;
    }
    const pst_msg_outcomes_t *outcomes = pst_outbox_next(w->outbox);
    if (!outcomes)
        return false;
    ret->type = PST_MSG_OUTCOMES;
    ret->u.outcomes = *outcomes;
    pst_outbox_sent(w->outbox);
    return true;
}

static const pst_session_ops_t session_ops = {
    .hello = on_hello,
    .up = on_up,
    .lost = on_lost,
    .tasks = on_tasks,
    .revoke = on_revoke,
    .ack = on_ack,
    .next = next_message,
};

/* ---- configuration --------------------------------------------------------------------------- */

static pst_err_t load(const pst_worker_args_t *args, pst_config_t **ret, pst_errbuf_t *eb)
{
    pst_config_errors_t errors = {NULL, 0};
    pst_err_t e = pst_config_load(args->config_path, ret, &errors);
    if (e) {
        fputs(errors.text ? errors.text : "", stderr);
        pst_errf(eb, e, "the configuration is wrong: correct what is listed above");
    }
    pst_config_errors_release(&errors);
    return e;
}

static void reload(pst_worker_t *w)
{
    pst_errbuf_t eb = {""};
    pst_auto(pst_config) c = NULL;
    pst_err_t e = load(w->args, &c, &eb);
    if (!e)
        e = pst_pools_configure(w->pools, c, &w->args->choice, &eb);
    if (e) {
        pst_log(PST_LOG_ERROR, "config.refused", "why=\"%s\"", eb.text);
        return;
    }
    w->offer_changed = true;
    pst_log(PST_LOG_INFO, "config.reloaded", "path=%s", c->path ? c->path : "-");
}

/* ---- the end --------------------------------------------------------------------------------- */

static void begin_drain(pst_worker_t *w)
{
    w->phase = DRAINING;
    w->until = pst_ns_add(pst_loop_now(w->loop), w->args->drain_timeout);
    pst_pools_drain(w->pools);
    w->offer_changed = true;
    pst_log(PST_LOG_INFO, "worker.draining", "calls=%u", pst_pools_runs(w->pools));
}

static void cut(pst_worker_t *w)
{
    pst_log(PST_LOG_WARN, "worker.cut", "calls=%u", pst_pools_runs(w->pools));
    w->phase = CUT;
    w->until = pst_ns_add(pst_loop_now(w->loop), CUT_GRACE);
    pst_pools_cut(w->pools);
}

static void leave(pst_worker_t *w)
{
    w->phase = LEAVING;
    w->until = pst_ns_add(pst_loop_now(w->loop), CUT_GRACE);
    pst_session_bye(w->session);
}

static void on_signal(void *arg, int sig)
{
    pst_worker_t *w = arg;
    if (sig == SIGHUP)
        reload(w);
    else if (w->phase == WORKING)
        begin_drain(w);
    else if (w->phase == DRAINING)
        cut(w);
}

/* True if there is something new to do. */
static bool advance(pst_worker_t *w, pst_ns_t now)
{
    phase_t before = w->phase;
    bool done = pst_pools_runs(w->pools) == 0 && pst_outbox_empty(w->outbox);
    if ((w->phase == DRAINING || w->phase == CUT) && done)
        leave(w);
    else if (w->phase == DRAINING && now >= w->until)
        cut(w);
    else if (w->phase == CUT && now >= w->until)
        leave(w);
    if (w->phase == LEAVING && (pst_session_over(w->session) || now >= w->until))
        pst_loop_stop(w->loop);
    return w->phase != before;
}

/* ---- the loop -------------------------------------------------------------------------------- */

static void watch_packs(pst_worker_t *w)
{
    size_t bytes = pst_packs_bytes(w->packs);
    bool pressed = bytes > (w->pressed ? PACKS_BYTES_ROOMY : PACKS_BYTES_FULL);
    if (pressed != w->pressed) {
        w->offer_changed = true;
        pst_log(PST_LOG_INFO, pressed ? "packs.full" : "packs.roomy", "bytes=%zu", bytes);
    }
    /* Sent back while there was no memory: larger jobs took the place of smaller ones, and it is offered too much
     * still. */
    uint64_t refused = pst_pools_stats(w->pools)->refused;
    w->offer_changed = w->offer_changed || (pressed && refused != w->refused);
    w->refused = refused;
    w->pressed = pressed;
    pst_pools_press(w->pools, pressed);
}

/* Runs are started in steps, and each step's calls are sent before the next is made. */
static pst_ns_t work(pst_worker_t *w, pst_ns_t now)
{
    pst_ns_t next = 0;
    for (unsigned i = 0; i < STEPS_PER_TURN && next == 0; i++) {
        pst_pools_step(w->pools, now);
        pst_http_step(w->http, now);
        next = pst_pools_due(w->pools);
    }
    return pst_ns_min(next, pst_http_due(w->http));
}

/* One turn: news, then work, then what came of it. */
static pst_ns_t turn(void *arg, pst_ns_t now)
{
    pst_worker_t *w = arg;
    pst_outbox_set_now(w->outbox, now);
    pst_session_read(w->session, now);
    pst_ns_t next = work(w, now);
    watch_packs(w);
    next = pst_ns_min(next, pst_session_write(w->session, now));
    if (advance(w, now) || pst_pools_held(w->pools))
        return 0;
    return w->phase == WORKING ? next : pst_ns_min(next, w->until);
}

/* A call is a descriptor: as many as the system lets us have. */
static void raise_descriptors(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
        r.rlim_cur = r.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &r);
    }
}

static void prepare_process(pst_worker_t *w)
{
    static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, 0};
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    /* Before libraries start threads, which inherit the mask. */
    pst_loop_signals(w->loop, sigs, on_signal, w);
}

pst_err_t pst_worker_new(const pst_worker_args_t *args, pst_worker_t **ret, pst_errbuf_t *eb)
{
    pst_auto(pst_config) c = NULL;
    pst_err_t e = load(args, &c, eb);
    if (e)
        return e;
    pst_auto(pst_worker) w = pst_calloc(1, sizeof *w);
    w->args = args;
    w->loop = pst_loop_new();
    prepare_process(w);
    w->http = pst_http_new(w->loop);
    w->packs = pst_packs_new(PACKS_BYTES_MAX, pst_random_u64());
    w->outbox = pst_outbox_new();
    w->pieces = pst_pieces_new();
    w->pools = pst_pools_new(w->http, w->packs, w->outbox, w->pieces, pst_random_u64());
    e = pst_pools_configure(w->pools, c, &args->choice, eb);
    if (e)
        return e;
    e = pst_session_new(w->loop, args->broker ? args->broker : c->broker_workers, &session_ops, w, &w->session,
                        eb);
    if (e)
        return e;
    pst_loop_prepare(w->loop, turn, w);
    *ret = pst_take(&w);
    return PST_OK;
}

static void log_stats(const pst_worker_t *w)
{
    const pst_pool_stats_t *s = pst_pools_stats(w->pools);
    const uint64_t *v = s->verdict;
    pst_http_stats_t h = pst_http_stats(w->http);
    pst_log(PST_LOG_INFO, "worker.stats",
            "runs=%llu calls=%llu done=%llu final=%llu retry=%llu throttle=%llu park=%llu returned=%llu "
            "revoked=%llu sent_bytes=%llu received_bytes=%llu connections=%llu reused=%llu in_flight=%u "
            "unacknowledged=%u",
            (unsigned long long)s->runs, (unsigned long long)s->calls,
            (unsigned long long)v[PST_VERDICT_DONE], (unsigned long long)v[PST_VERDICT_FINAL],
            (unsigned long long)v[PST_VERDICT_RETRY], (unsigned long long)v[PST_VERDICT_THROTTLE],
            (unsigned long long)v[PST_VERDICT_PARK], (unsigned long long)v[PST_VERDICT_RETURNED],
            (unsigned long long)s->revoked, (unsigned long long)s->sent_bytes,
            (unsigned long long)s->received_bytes, (unsigned long long)h.connections, (unsigned long long)h.reused,
            pst_pools_runs(w->pools), pst_outbox_outcomes(w->outbox));
}

bool pst_worker_run(pst_worker_t *w)
{
    pst_loop_run(w->loop);
    log_stats(w);
    return pst_outbox_empty(w->outbox);
}

void pst_worker_destroy(pst_worker_t **w)
{
    if (!w || !*w)
        return;
    pst_worker_t *x = pst_take(w);
    pst_session_destroy(&x->session);
    pst_pools_destroy(&x->pools);
    pst_pieces_destroy(&x->pieces);
    pst_outbox_destroy(&x->outbox);
    pst_packs_destroy(&x->packs);
    pst_http_destroy(&x->http);
    pst_loop_destroy(&x->loop);
    free(x);
}
