/* core.h - the broker's decisions: what runs where and when, what is stored before what is answered.
 *
 * Pure: no clock, no I/O, no logging, no randomness but its seed.  The shell calls pst_core_step with what happened, then
 * takes actions with pst_core_next until there are none and carries them out.  Same seed and events, same
 * actions: the simulator (tests/sim) drives this very code.
 *
 * Owns every batch that has not ended: its packs (a small record each; bytes only of the few packs that are open),
 * its jobs that are running or waiting (fresh ones cost a bit), workers' sessions, endpoints and their budgets.
 *
 * What a newcomer should read: one job.
 *   OPEN/PACK/COMMIT events -> STORE actions; each is answered (REPLY) only when its STORED event has come.
 *   An accepted batch's packs stand in flows, one a (batch, route).  pump() takes the flows in fair turns, opens their
 *   next packs (STORE LOAD), picks an endpoint for each job (route.c) within its budgets (limit.c) and a worker with
 *   room, and emits TASKS.
 *   OUTCOMES: each ends its job (into the segment's next result pack), or makes it wait (retry.c), or puts it back.
 *   The worker's ACK follows when the STORE APPEND / RETRY that holds its outcomes has been answered.
 *   When every job has a result, STORE END; then the core forgets the batch.
 *   A CALL is one job of its own that somebody waits for: accepted at once, as a batch that no store knows.  Its STORE
 *   actions are marked `live`: the shell keeps what they say and answers them itself.
 * And one crash: a new core gets RESTORED events for all that Redis holds, then workers' HELLOs naming what they still
 *   run; jobs nobody runs are fresh again when GO comes. */
#ifndef PST_CORE_H
#define PST_CORE_H

#include "store/store.h"

/* A peer is a session, numbered by the shell, never reused while the process lives. */
typedef uint32_t pst_peer_t;

/* ---- endpoints: the configuration as the core needs it -------------------------------------------------------- */

/* What a provider counts of a call, and when (PROVIDERS' documentation, by wire protocol). */
typedef enum pst_reserve {
    PST_RESERVE_LIMIT,    /* input and the answer's limit, at once; corrected by its usage */
    PST_RESERVE_EXPECTED, /* the output that is expected, and no input that was read from a cache */
} pst_reserve_t;

typedef struct pst_core_provider {
    pst_view_t name;
    uint64_t limit[PST_RATE_COUNT]; /* 0: none */
    pst_reserve_t reserve;
    uint32_t concurrency;        /* 0: no limit */
    uint32_t urls;               /* bits of pst_url_t its wire protocol can serve */
    uint32_t params;             /* PST_PARAM_… it can say */
    bool deny_data_collection, zdr;
} pst_core_provider_t;

typedef struct pst_core_endpoint {
    uint32_t provider;
    pst_view_t model;            /* upstream */
    double price_input, price_output, price_cached, price_request; /* USD a million tokens, USD a call */
    uint32_t context, max_output, flags;
    uint64_t limit[PST_RATE_COUNT];
    uint32_t concurrency;
    pst_view_t quantization;
    pst_view_t variant;          /* empty: none */
    uint32_t params;             /* PST_PARAM_… it takes */
    bool caches_prompts;         /* prompts that begin alike are sent there together, the first alone */
} pst_core_endpoint_t;

typedef struct pst_core_model {
    pst_view_t name;
    uint32_t first, count;       /* of endpoints */
} pst_core_model_t;

typedef struct pst_core_config {
    const pst_core_provider_t *providers;
    uint32_t providers_n;
    const pst_core_endpoint_t *endpoints;
    uint32_t endpoints_n;
    const pst_core_model_t *models;
    uint32_t models_n;
} pst_core_config_t;

typedef struct pst_core_opts {
    uint64_t seed;
    uint32_t batches_max;        /* not ended; 0: 100,000 */
    uint64_t open_bytes_max;     /* bytes of packs held in memory; 0: 64 MiB */
    uint64_t staging_idle_ms;    /* 0: PST_UPLOAD_IDLE_MS */
} pst_core_opts_t;

/* ---- events --------------------------------------------------------------------------------------------------- */

typedef enum pst_event_type {
    PST_EV_TICK,           /* nothing but time */
    PST_EV_CONFIG,         /* first, and at each reload: endpoints are matched by (provider, model) name */
    PST_EV_OPEN, PST_EV_PACK, PST_EV_COMMIT, PST_EV_ABORT, PST_EV_CANCEL, PST_EV_DELETE,
    PST_EV_CALL,           /* refused with a REPLY; else there is none: its result says everything */
    PST_EV_BEGUN,          /* a piece of this call's answer has gone to its client: it is never made anew */
    PST_EV_WORKER,         /* HELLO of a worker: its pools and what it still runs */
    PST_EV_CAPACITY,       /* its pools changed */
    PST_EV_WORKER_GONE,    /* lost, or said BYE */
    PST_EV_OUTCOMES,
    PST_EV_STORED,         /* answer of the store */
    PST_EV_STORE_STATE,    /* up, down, room */
    PST_EV_RESTORED,
    PST_EV_GO,             /* the state is read back and the workers known of had time to return: dispatch */
} pst_event_type_t;

typedef struct pst_core_pool {
    uint32_t provider;           /* pst_core_provider(); UINT32_MAX: unknown, ignored */
    uint32_t jobs;
} pst_core_pool_t;

typedef struct pst_event {
    pst_event_type_t type;
    union {
        const pst_core_config_t *config;
        struct { pst_peer_t peer; const pst_msg_open_t *msg; } open;
        struct {
            pst_peer_t peer;
            const pst_msg_pack_t *msg;
            const pst_pack_headers_t *headers;   /* msg->headers decoded and checked */
            pst_blob_t *headers_blob, *bodies_blob; /* borrowed; the core takes references */
        } pack;
        struct { pst_peer_t peer; const pst_msg_commit_t *msg; } commit;
        struct { pst_peer_t peer; const pst_msg_batch_req_t *msg; } batch_req; /* ABORT CANCEL DELETE */
        struct {
            pst_peer_t peer;
            const pst_msg_call_t *msg;
            const pst_pack_headers_t *headers;   /* msg->headers decoded and checked: one job, not rejected */
            pst_blob_t *headers_blob, *bodies_blob; /* borrowed; the core takes references */
        } call;
        struct { pst_id_t call; } begun;
        struct {
            pst_peer_t worker;
            const pst_core_pool_t *pools;
            uint32_t pools_n;
            const pst_task_ref_t *running; /* WORKER only */
            uint32_t running_n;
        } worker;                          /* WORKER, CAPACITY, WORKER_GONE */
        struct {
            pst_peer_t worker;
            uint64_t number;               /* to be acknowledged */
            const pst_outcome_group_t *groups;
            uint32_t groups_n;
            pst_blob_t *const *blobs;      /* groups[i].blob.bytes, owned; borrowed, the core takes references */
        } outcomes;
        struct {
            const pst_store_answer_t *answer;
            const pst_pack_headers_t *headers; /* LOAD: decoded by the shell; NULL if they do not decode */
        } stored;
        struct { bool up; uint64_t used_bytes, max_bytes; } store_state;
        const pst_restored_t *restored;
    } u;
} pst_event_t;

/* ---- actions: valid until the next pst_core_step ---------------------------------------------------------------- */

typedef enum pst_action_type {
    PST_ACT_REPLY,         /* DONE to a client */
    PST_ACT_STORE,
    PST_ACT_TASKS,         /* one group to a worker; the shell puts a turn's groups into one message */
    PST_ACT_REVOKE,
    PST_ACT_ACK,
    PST_ACT_NOTICE,        /* something a person or a waiting FETCH should know */
} pst_action_type_t;

typedef enum pst_notice {
    PST_NOTICE_RESULTS,    /* more results of this batch can be read */
    PST_NOTICE_ENDED,      /* the batch has ended and its summary is stored */
    PST_NOTICE_ACCEPTED,
    PST_NOTICE_PARKED,     /* an endpoint (or, model empty, a whole provider) rests */
    PST_NOTICE_RESUMED,
} pst_notice_t;

typedef struct pst_action {
    pst_action_type_t type;
    union {
        struct { pst_peer_t peer; pst_msg_done_t done; } reply;
        pst_store_op_t store;
        struct {
            pst_peer_t worker;
            pst_task_group_t group;          /* headers and bodies empty if the worker holds the pack */
            pst_blob_t *headers, *bodies;    /* what group.headers and group.bodies point into, or NULL */
        } tasks;
        struct { pst_peer_t worker; pst_task_ref_t ref; } revoke;
        struct { pst_peer_t worker; uint64_t number; } ack;
        struct {
            pst_notice_t what;
            pst_id_t batch;
            pst_endpoint_name_t endpoint;
            uint8_t cause;
            uint64_t until_wall_ms;
        } notice;
    } u;
} pst_action_t;

typedef struct pst_core pst_core_t;

pst_core_t *pst_core_new(const pst_core_opts_t *o);
void pst_core_destroy(pst_core_t **c);
/* One event at one moment: now monotonic, wall_ms for what is shown or stored.  Neither may run backwards by more than
 * the core tolerates: an earlier `now` counts as the latest one seen. */
void pst_core_step(pst_core_t *c, pst_ns_t now, uint64_t wall_ms, const pst_event_t *ev);
/* The next action of the last step; false when there is none. */
bool pst_core_next(pst_core_t *c, pst_action_t *ret);
/* When TICK is wanted; PST_NEVER if never; <= now: at once (more work than one step does). */
pst_ns_t pst_core_deadline(const pst_core_t *c);

/* ---- looking in (no state changes) ------------------------------------------------------------------------------- */

/* PST_E_NOT_FOUND for a batch the core does not hold (ended, or never was; calls are none), as it stood in
 * the last step.  Arrays lie in the arena. */
pst_err_t pst_core_batch_info(pst_core_t *c, const pst_id_t *batch, bool full, pst_arena_t *a, pst_batch_info_t *ret);
/* Result packs of a segment that are stored (not merely on their way); *ret_last if no later segment exists. */
pst_err_t pst_core_results(const pst_core_t *c, const pst_id_t *batch, uint32_t segment, uint32_t *ret_n, bool *ret_last);
/* How many segments a batch has; 0 if the core does not hold it or it is still being uploaded. */
uint32_t pst_core_segments(const pst_core_t *c, const pst_id_t *batch);
/* State of a job by its place; for PST_STATE_ENDED *ret_pack is the result pack in `segment`. */
pst_err_t pst_core_job(const pst_core_t *c, const pst_id_t *batch, uint32_t pack, uint16_t slot, uint32_t *ret_segment,
                       pst_job_state_t *ret_state, uint32_t *ret_attempts, uint64_t *ret_due_wall_ms, uint32_t *ret_pack);
/* Packs that may hold an input index (by their least and greatest index), at most max; all packs if index is UINT32_MAX.
 * first: start the search there; *ret_next: where to go on, UINT32_MAX at the end. */
uint32_t pst_core_find_packs(const pst_core_t *c, const pst_id_t *batch, uint32_t index, uint32_t first, uint32_t *packs,
                             uint32_t *segments, uint32_t max, uint32_t *ret_next);
/* A call that has not ended. */
bool pst_core_calls(const pst_core_t *c, const pst_id_t *call);
/* Whether this worker has the call's job now, by this very dispatch. */
bool pst_core_runs(const pst_core_t *c, pst_peer_t worker, const pst_task_ref_t *task);
/* PST_OK if some endpoint can serve the route's models at this url. */
pst_err_t pst_core_route_check(pst_core_t *c, pst_url_t url, pst_view_t route);

/* A provider's number, for pools; UINT32_MAX: unknown. */
uint32_t pst_core_provider(const pst_core_t *c, pst_view_t name);

/* The whole at this moment, which is that of the last step.  Arrays lie in the arena, names in the core. */
void pst_core_cluster(pst_core_t *c, uint64_t wall_ms, pst_arena_t *a, pst_cluster_t *ret);

/* Everything it does, counted since it began. */
#define PST_COUNTER_LIST(X)                                                                        \
    X(batches_accepted, "batches accepted")                                                        \
    X(batches_ended, "batches ended")                                                              \
    X(jobs_accepted, "jobs accepted")                                                              \
    X(jobs_completed, "jobs ended with an answer")                                                 \
    X(jobs_failed, "jobs ended without one")                                                       \
    X(dispatches, "jobs sent to a worker")                                                         \
    X(outcomes, "outcomes received")                                                               \
    X(outcomes_late, "outcomes of jobs that had ended")                                            \
    X(retries, "attempts that failed and are tried again")                                         \
    X(throttles, "attempts refused by a provider's limit")                                         \
    X(parks, "attempts that parked an endpoint")                                                   \
    X(returned, "jobs handed back unsent")                                                         \
    X(worker_losses, "workers lost with jobs in flight")                                           \
    X(jobs_lost_with_worker, "jobs to be run again because their worker was lost")                 \
    X(packs_stored, "packs stored")                                                                \
    X(packs_loaded, "packs read back from the store")                                              \
    X(appends, "result packs stored")                                                              \
    X(refusals, "requests refused")

typedef struct pst_core_counters {
#define X(name, help) uint64_t name;
    PST_COUNTER_LIST(X)
#undef X
} pst_core_counters_t;

typedef struct pst_core_gauges {
    uint32_t batches, packs, packs_open, jobs_running, jobs_waiting, workers;
    uint64_t jobs_queued, open_bytes;
} pst_core_gauges_t;

/* By pst_cause_t: calls that failed, and jobs that ended without an answer. */
typedef struct pst_core_causes {
    uint64_t calls[UINT8_MAX + 1], jobs[UINT8_MAX + 1];
} pst_core_causes_t;

const pst_core_counters_t *pst_core_counters(const pst_core_t *c);
const pst_core_causes_t *pst_core_causes(const pst_core_t *c);
void pst_core_gauges(const pst_core_t *c, pst_core_gauges_t *ret);
typedef struct pst_core_endpoint_state {
    pst_endpoint_name_t name;
    uint32_t in_flight, room;    /* room: what its workers could take now */
    bool parked;
    uint8_t cause;
    pst_ns_t until;
    uint8_t uptime_tier;         /* 0: 95 % of its calls worked, or too few were made; 1: 80 %; 2: fewer */
    bool measured;               /* calls enough for these two, of the last five minutes */
    double latency_s, tokens_per_s; /* medians */
    double input_ratio;          /* real input tokens to the submitters' estimates */
} pst_core_endpoint_state_t;
/* i-th endpoint; false past the last. */
bool pst_core_endpoint_at(pst_core_t *c, uint32_t i, pst_core_endpoint_state_t *ret);

#endif
