#include "restore.h"

#include "engine.h"
#include "proc/clock.h"
#include "proc/log.h"

#define WAIT_MAX (1500 * PST_MS)

struct pst_restore {
    pst_broker_t *b;
    pst_arena_t arena;
    pst_names_t awaited; /* a name that has come is cut to length 0 */
    uint32_t missing;
    pst_ns_t until;      /* 0: not begun */
    bool over;
    uint64_t batches, packs;
};

static void on_restored(void *arg, const pst_restored_t *r)
{
    pst_restore_t *x = arg;
    x->batches += r->type == PST_RESTORED_BATCH;
    x->packs += r->type == PST_RESTORED_PACK;
    pst_event_t ev = {.type = PST_EV_RESTORED, .u.restored = r};
    pst_engine_step(x->b, &ev);
}

static pst_err_t read_back(pst_restore_t *r, pst_errbuf_t *eb)
{
    pst_ns_t begin = pst_clock_mono();
    pst_err_t e = pst_store_restore(r->b->store, on_restored, r, eb);
    if (!e)
        e = pst_store_workers(r->b->store, &r->arena, &r->awaited, eb);
    if (e)
        return e;
    r->missing = r->awaited.n;
    pst_log(PST_LOG_INFO, "broker.restored", "batches=%llu packs=%llu workers=%u ms=%llu",
            (unsigned long long)r->batches, (unsigned long long)r->packs, r->missing,
            (unsigned long long)((pst_clock_mono() - begin) / PST_MS));
    return PST_OK;
}

pst_err_t pst_restore_new(pst_broker_t *b, pst_restore_t **ret, pst_errbuf_t *eb)
{
    pst_restore_t *r = pst_calloc(1, sizeof *r);
    r->b = b;
    pst_arena_init(&r->arena, 0);
    pst_err_t e = read_back(r, eb);
    if (e) {
        pst_restore_destroy(&r);
        return e;
    }
    *ret = r;
    return PST_OK;
}

void pst_restore_destroy(pst_restore_t **r)
{
    pst_restore_t *x = pst_take(r);
    if (!x)
        return;
    pst_arena_release(&x->arena);
    free(x);
}

void pst_restore_worker(pst_restore_t *r, pst_view_t name)
{
    for (uint32_t i = 0; !r->over && i < r->awaited.n; i++) {
        pst_view_t *v = &r->awaited.v[i];
        if (v->n > 0 && pst_view_eq(*v, name)) {
            v->n = 0;
            r->missing--;
        }
    }
}

/* Those that did not come back are no workers any more. */
static void forget_missing(pst_restore_t *r)
{
    for (uint32_t i = 0; i < r->awaited.n; i++) {
        if (r->awaited.v[i].n == 0)
            continue;
        pst_log(PST_LOG_WARN, "worker.missing", "worker=\"%.*s\"", (int)r->awaited.v[i].n, r->awaited.v[i].p);
        pst_store_worker(r->b->store, r->awaited.v[i], false);
    }
}

pst_ns_t pst_restore_turn(pst_restore_t *r, pst_ns_t now)
{
    if (r->over)
        return PST_NEVER;
    if (!r->until)
        r->until = pst_ns_add(now, WAIT_MAX);
    if (r->missing && now < r->until)
        return r->until;
    static const pst_event_t go = {.type = PST_EV_GO};
    r->over = true;
    forget_missing(r);
    pst_log(PST_LOG_INFO, "broker.go", "missing=%u", r->missing);
    pst_engine_step(r->b, &go);
    pst_arena_release(&r->arena);
    r->awaited = (pst_names_t){0};
    return 0;
}

bool pst_restore_over(const pst_restore_t *r)
{
    return r->over;
}
