/* pool.h - the calls of each provider this worker serves.
 *
 * A run is one dispatch of one job:
 *
 *   TASKS --take--> queued --start--> live --answer--> outcome in the outbox
 *                     |                 |
 *                     +----- REVOKE ----+--> forgotten, without an outcome
 *                     +-- draining, not served --> outcome RETURNED
 *
 * A pool has at most `capacity` runs live; the broker knows that number and sends no more, but a reload may
 * lower it, so what is too much waits.  Runs come from a slab and what a call needs (arena, JSON tape) is used
 * again, so that an echo run allocates nothing.
 *
 * A run whose group asks for a stream is told in pieces while it is made:
 *
 *   live --events--> pieces … --end mark--> the provider ends its answer --> outcome DONE
 *          \--an error, silence, a cut, the session's end--> outcome: FINAL if there was a piece
 *
 * While pieces wait for a slow broker the answers they are of are not read.
 *
 * Borrows http, packs, outbox and pieces.  Logs what a configuration leaves out. */
#ifndef PST_POOL_H
#define PST_POOL_H

#include "http/http.h"
#include "outbox.h"
#include "packs.h"
#include "pieces.h"
#include "proc/config.h"

/* Runs at a time, over all pools; the other half of a HELLO's list is for outcomes.  No more is offered: to a
 * broker that keeps to the offer pst_pools_take never says FULL. */
#define PST_POOLS_RUNS_MAX (PST_RUNNING_MAX / 2)
#define PST_POOL_CAPACITY_DEFAULT 64

typedef struct pst_pools pst_pools_t;

/* What the command line says; borrowed for the call. */
typedef struct pst_pool_choice {
    const char *const *providers; /* none: all of the configuration */
    unsigned providers_n;
    uint32_t concurrency;         /* 0: the provider's limit, else PST_POOL_CAPACITY_DEFAULT */
} pst_pool_choice_t;

typedef struct pst_pool_stats {
    uint64_t runs;      /* taken */
    uint64_t calls;     /* over HTTP */
    uint64_t verdict[PST_VERDICT_RETURNED + 1]; /* outcomes by verdict */
    uint64_t refused;   /* RETURNED as soon as they came: not served, draining, or no memory for their pack */
    uint64_t revoked;
    uint64_t sent_bytes, received_bytes; /* bodies over HTTP */
} pst_pool_stats_t;

pst_pools_t *pst_pools_new(pst_http_t *http, pst_packs_t *packs, pst_outbox_t *outbox, pst_pieces_t *pieces,
                           uint64_t seed);
/* Cuts what is live. */
void pst_pools_destroy(pst_pools_t **p);

/* Takes the providers of `c`, or leaves everything as it is with PST_E_CONFIG if none of them can be served.
 * Calls in flight go on with what they began with. */
PST_MUSTCHECK pst_err_t pst_pools_configure(pst_pools_t *p, const pst_config_t *c,
                                            const pst_pool_choice_t *choice, pst_errbuf_t *eb);
/* Pressed, a pool offers no room beyond its runs, or one if it has none. */
void pst_pools_press(pst_pools_t *p, bool pressed);
/* For HELLO and CAPACITY: at most PST_WORKER_PROVIDERS_MAX entries in ret; how many. */
uint32_t pst_pools_capacity(const pst_pools_t *p, pst_pool_capacity_t *ret);

/* The slots of one group.  MALFORMED: a slot the pack does not have.  FULL: more than was offered. */
PST_MUSTCHECK pst_err_t pst_pools_take(pst_pools_t *p, const pst_task_group_t *g, pst_pack_t *pack);
void pst_pools_revoke(pst_pools_t *p, const pst_task_ref_t *ref);
/* The session has ended, and with it whoever took pieces: answers of which some were sent are FINAL. */
void pst_pools_lost(pst_pools_t *p);
/* Starts some of what may start and answers what is due. */
void pst_pools_step(pst_pools_t *p, pst_ns_t now);
pst_ns_t pst_pools_due(const pst_pools_t *p); /* when pst_pools_step is wanted next; 0: at once */
/* Answers are not read that may be read again: a step is wanted at once. */
bool pst_pools_held(const pst_pools_t *p);
/* No new runs: those queued are RETURNED, those live go on. */
void pst_pools_drain(pst_pools_t *p);
/* Cuts the live ones, without outcomes. */
void pst_pools_cut(pst_pools_t *p);
uint32_t pst_pools_runs(const pst_pools_t *p); /* queued and live */
/* All of them, at most max; how many. */
uint32_t pst_pools_refs(const pst_pools_t *p, pst_task_ref_t *ret, uint32_t max);
const pst_pool_stats_t *pst_pools_stats(const pst_pools_t *p);

#endif
