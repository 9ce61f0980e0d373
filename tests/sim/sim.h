/* sim.h - a seeded world around the broker's core: the very code that ships, in virtual time.
 *
 * One seed decides everything: how many batches, workers and endpoints there are, which kinds of fault happen (each seed
 * leaves some out), and when.  The world plays the shell, Redis, workers, clients and providers; links keep the
 * order of a session's messages, delay them, and lose all of them when they are cut.  After `heal_at` no more faults
 * happen, and everything must end.
 *
 * Checked all the time:
 *   a job has at most one result                        an acknowledged outcome is in the store
 *   an accepted batch is wholly in the store            one idempotency key, one accepted batch
 *   no job is called by two workers that both have a session, nor again after an answer if no worker was lost
 *   a provider gets no more calls than the store granted, nor more at once than its limit
 *   a batch is its tenant's, also in the store
 *   bytes of packs in memory stay under their bound     every account equals the results stored with it
 *   no store sees anything of a call                    a call is answered once, and what began is not begun again
 * And at the end: every accepted batch has ended, with one result for every job, so has every call that the broker still
 * knew, and the core holds nothing. */
#ifndef SIM_H
#define SIM_H

#include "base/heap.h"
#include "base/list.h"
#include "base/rng.h"
#include "core/core.h"

#define SIM_BATCHES_MAX 6
#define SIM_CALLS_MAX 12
#define SIM_PLANS_MAX (SIM_BATCHES_MAX * 2 + SIM_CALLS_MAX)
#define SIM_JOBS_MAX 160   /* of a batch */
#define SIM_PACKS_MAX 64
#define SIM_WORKERS_MAX 4
#define SIM_PROVIDERS 3
#define SIM_ENDPOINTS 4
#define SIM_BUCKETS (SIM_PROVIDERS + SIM_ENDPOINTS)
#define SIM_RESULTS_MAX 4096

typedef struct sim_faults {
    bool broker_crash, store_stall, worker_crash, link_cut, outage, bad_key, server_errors, limits, client_death, cancel,
        window, budget, caches, headers, calls;
} sim_faults_t;

/* The first of them is one provider's, with the last: what rests at one is no reason for the other to wait. */
typedef struct sim_endpoint {
    uint32_t provider;
    const char *model;
} sim_endpoint_t;
extern const sim_endpoint_t sim_endpoints[SIM_ENDPOINTS];

/* ---- Redis, as far as the core can tell --------------------------------------------------------------------------- */

typedef struct stored_pack {
    bool there;
    pst_pack_entry_t entry;
    uint32_t segment;
    uint8_t url;
    bool rejected;
    pst_blob_t *headers, *bodies, *route;
} stored_pack_t;

typedef struct stored_result {
    uint32_t segment, n, pack;
    uint16_t slot;
    uint8_t status;
} stored_result_t;

typedef struct stored_retry {
    bool there;
    pst_retry_t retry;
    pst_endpoint_name_t names[PST_HISTORY_MAX];
    pst_attempt_t history[PST_HISTORY_MAX];
} stored_retry_t;

typedef struct stored_batch {
    pst_id_t id;
    bool there, accepted, ended;
    pst_drain_t drain;
    uint64_t accepted_ms, expires_ms, max_cost_nano, window_s;
    char key[16], tenant[16];
    uint32_t packs, jobs, segments;
    stored_pack_t pack[SIM_PACKS_MAX];
    uint32_t results_n;
    stored_result_t result[SIM_JOBS_MAX];
    uint32_t next_n[SIM_PACKS_MAX];       /* result packs of each segment */
    pst_seg_stats_t stats[SIM_PACKS_MAX]; /* counters only */
    stored_retry_t *retry;                /* pack * SIM_JOBS_MAX + slot, made when first needed */
    uint32_t retries;
} stored_batch_t;

typedef struct bucket_model {
    char name[64];
    double level[PST_RATE_COUNT];
    pst_ns_t at, blocked_until;
    uint64_t granted; /* requests */
    bool kept;        /* what was learned of it: */
    uint64_t limit[PST_RATE_COUNT];
    uint8_t source[PST_RATE_COUNT];
} bucket_model_t;

/* ---- the world ------------------------------------------------------------------------------------------------------ */

typedef struct world world_t;
typedef void sim_fn(world_t *w, void *arg);

typedef struct sim_event {
    pst_heap_node_t node;
    sim_fn *fn;
    void *arg;
    uint32_t life;  /* of what it concerns; a different one by then: dropped */
    const uint32_t *life_now;
    bool owns;      /* arg is freed with the event */
} sim_event_t;

typedef struct call { /* a task at a worker */
    pst_task_ref_t ref;
    uint32_t endpoint;   /* of sim endpoints */
    bool done;           /* the provider has answered: waits to be acknowledged */
    uint64_t number;     /* OUTCOMES it went into, 0: none yet */
    uint8_t verdict, cause;
    uint16_t status;
    uint64_t wait_ms;
    pst_limit_report_t said; /* limit 0: nothing */
    struct call *next;
} call_t;

typedef struct worker {
    bool alive, session;
    uint32_t life;       /* of the process */
    uint32_t link;       /* of the session: both directions die with it */
    pst_peer_t peer;
    pst_ns_t to_worker, to_broker; /* last delivery: order is kept */
    call_t *calls;
    uint64_t number;
} worker_t;

typedef struct client {
    uint32_t batch;      /* in world->batch */
    uint32_t life;
    bool knows_accepted;
    pst_ns_t to_broker;
} client_t;

typedef struct batch_plan {
    pst_id_t id;
    char key[16];
    uint32_t packs, jobs, segments;
    uint32_t pack_jobs[SIM_PACKS_MAX], pack_segment[SIM_PACKS_MAX], pack_route[SIM_PACKS_MAX];
    uint8_t priority;
    char tenant[16];
    uint32_t prefixes;   /* beginnings that its jobs have, in turn; 0: none */
    uint64_t window_s, max_cost_nano;
    bool cancel;
    bool accepted_told;  /* some client got ACCEPTED */
    uint16_t done_calls[SIM_JOBS_MAX];
    /* of a call: a batch of one job that no store knows */
    bool call, stream;
    uint64_t window_ms;
    pst_blob_t *headers, *bodies;
    uint32_t asked_of;   /* 1 + the life of the broker that was asked; 0: none was */
    bool begun;          /* a piece of its answer was told */
    bool answered, over;
} batch_plan_t;

typedef struct provider_model {
    char name[16];
    uint64_t rpm;
    uint32_t concurrency;
    uint32_t in_flight;
    uint64_t calls;
    bool caches;
    pst_ns_t outage_until, bad_key_until;
    double p_error, p_429, p_final;
} provider_model_t;

struct world {
    uint64_t seed, trace;
    pst_rng_t rng;
    pst_ns_t now, heal_at;
    uint64_t wall_ms;
    sim_faults_t faults;
    pst_heap_t events;
    uint32_t events_run;
    /* broker */
    pst_core_t *core;
    bool broker_up, going;
    uint32_t broker_life;
    uint32_t expected_workers;
    pst_peer_t next_peer;
    pst_ns_t tick_at;
    /* redis */
    stored_batch_t *stored;
    uint32_t stored_n;
    bucket_model_t bucket[SIM_BUCKETS];
    uint32_t buckets_n;
    struct {
        char key[16];
        pst_id_t holder;
    } keys[SIM_BATCHES_MAX];
    uint32_t keys_n;
    struct pending *pending, *pending_tail; /* operations on their way, in order */
    bool store_up;
    pst_ns_t store_busy_until;
    /* the others */
    worker_t worker[SIM_WORKERS_MAX];
    uint32_t workers_n;
    client_t client[SIM_BATCHES_MAX * 2];
    uint32_t clients_n;
    batch_plan_t batch[SIM_PLANS_MAX];
    uint32_t batches_n;
    provider_model_t provider[SIM_PROVIDERS];
    pst_ns_t revoked_by; /* the latest REVOKE is there: until then a call may run whose place is taken already */
    uint32_t losses;     /* workers whose session was lost with calls in flight */
    uint32_t crashes;    /* of the broker */
    pst_arena_t arena;   /* of the current step */
    const char *failure; /* first violated rule */
    char failure_text[256];
};

typedef struct sim_report {
    uint64_t trace;
    uint32_t events;
    uint32_t jobs, losses, crashes;
    pst_ns_t took;
    char failure[300]; /* empty: all rules held */
} sim_report_t;

/* Runs one seed to its end.  verbose: the trace on stdout. */
void sim_run(uint64_t seed, bool verbose, sim_report_t *ret);

/* world.c, for store.c */
void sim_fail(world_t *w, const char *fmt, ...) PST_PRINTF(2, 3);
void sim_after(world_t *w, pst_ns_t delay, sim_fn *fn, void *arg, const uint32_t *life, bool owns);
bool sim_chance(world_t *w, double p);
uint64_t sim_between(world_t *w, uint64_t lo, uint64_t hi);
void sim_step(world_t *w, const pst_event_t *ev);
batch_plan_t *sim_plan(world_t *w, const pst_id_t *id);
pst_ns_t sim_in_order(world_t *w, pst_ns_t *last);
call_t *sim_find_call(worker_t *k, const pst_task_ref_t *ref);
void sim_plan_batch(world_t *w, batch_plan_t *b, uint32_t n);
void sim_build_pack(world_t *w, batch_plan_t *b, uint32_t pack, pst_pack_headers_t *h, pst_job_header_t *jobs);

/* calls.c */
void calls_make(world_t *w);
void calls_refused(world_t *w, const pst_msg_done_t *d);
void calls_store(world_t *w, const pst_store_op_t *op); /* one that is marked `live` */
void calls_started(world_t *w, const worker_t *k, const pst_task_ref_t *ref);
void calls_check_dispatch(world_t *w, const pst_task_group_t *g);
bool call_waits(const world_t *w, const batch_plan_t *b);
void calls_free(world_t *w);

/* store.c */
void store_submit(world_t *w, const pst_store_op_t *op);
void store_broker_died(world_t *w); /* a prefix of what was on its way still takes effect, answers are lost */
void store_set_up(world_t *w, bool up);
void store_restore(world_t *w);
stored_batch_t *store_find(world_t *w, const pst_id_t *id);
bool store_has_result(world_t *w, const pst_id_t *batch, uint32_t pack, uint16_t slot);
void store_free(world_t *w);

#endif
