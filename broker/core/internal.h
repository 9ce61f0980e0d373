/* internal.h - the core's own structures.  Nothing outside broker/core includes this.
 *
 * Who owns what:
 *   core -> batches -> packs, segments, flows          core -> routes (shared by packs and flows, counted)
 *   pack -> live (while any of its jobs is open, running or waiting) -> job records
 *   core -> providers, endpoints, buckets              core -> workers -> pools
 *   core -> tenants (counted by batches)               route -> candidates, shares (counted by flows)
 *   segment -> appends (result packs being gathered or on their way to the store)
 *
 * Invariants:
 *   a job has a result (batch->where[ordinal] != 0), or a record, or is fresh (slot >= pack->next_slot or listed in
 *     the pack as skipped by nothing): never two of them
 *   a record is in exactly one state: RUNNING (in a worker's list), WAITING (in the timer heap), READY (in its flow's
 *     list, or, while the first job of its prompt's beginning is being answered, in that beginning's)
 *   a flow is in its share's heap (ACTIVE) or in none
 *   a candidate is in its group's heap, or in the heap of one place whose capacity it waits for
 *   a route is in core->ready if it has an active flow and a candidate that does not wait */
#ifndef PST_CORE_INTERNAL_H
#define PST_CORE_INTERNAL_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "core/core.h"

#define NONE UINT32_MAX

#define DISPATCH_MAX_STEP 2048        /* jobs one step sends at most: then the shell gets its turn */
#define RUN_JOBS_MAX 256              /* jobs of one TASKS group */
#define QUANTUM_TOKENS (64 * 1024)    /* a flow's turn, in tokens */
#define WORK_HALF_LIFE (30 * PST_SEC) /* what was sent so long ago counts half in the order of turns */
#define HELD_JOBS_MAX 1024            /* of a batch: more do not wait beside their packs */
#define PREFETCH_PACKS 4              /* packs of a flow opened ahead */
#define DRAIN_LOADS_MAX 8             /* packs a draining batch reads at a time */
#define APPENDS_IN_FLIGHT 2           /* result packs of a segment on their way to the store */
#define APPENDS_OUT_MAX 16            /* of all segments, before jobs are ended that no worker answers for */
#define APPENDS_KEPT_MAX 64           /* used ones whose memory is kept for the next */
#define APPEND_JOBS_MAX 1024
#define APPEND_BYTES_MAX (4u << 20)
#define RETRY_BASE (500 * PST_MS)
#define RETRY_MAX (60 * PST_SEC)
#define THROTTLE_BASE (1 * PST_SEC)
#define CALL_PATIENCE (5 * PST_SEC)   /* of who waits for one job, with what is parked */
#define PARK_BASE (30 * PST_SEC)
#define PARK_MAX (3600 * PST_SEC)
#define OUTAGE_FAILURES 10            /* in a row, then the endpoint rests */
#define OUTAGE_BASE (500 * PST_MS)    /* between two probes of what is down: this, or a twentieth of the time it has been */
#define OUTAGE_MAX (30 * PST_SEC)
#define SLICE_TIME (200 * PST_MS)     /* how much of a budget is leased at a time */
#define SLICE_IDLE (2 * PST_SEC)      /* unused for so long: given back */
#define BATCH_DAYS_MAX 7              /* without a window */
#define ROOM_SHARE 70                 /* per cent of Redis's memory that submissions may fill */

typedef struct batch batch_t;
typedef struct flow flow_t;
typedef struct route route_t;
typedef struct job job_t;
typedef struct append append_t;
typedef struct share share_t;
typedef struct beginning beginning_t; /* prefix.c */

/* What a heap node belongs to. */
typedef enum timer_kind { TIMER_JOB, TIMER_ENDPOINT, TIMER_PROVIDER, TIMER_BUCKET, TIMER_BATCH, TIMER_ROUTE } timer_kind_t;
typedef struct timer {
    pst_heap_node_t node;
    timer_kind_t kind;
} timer_t_;

/* Where candidates wait for capacity: an endpoint's own, or its provider's. */
typedef struct place {
    pst_heap_t waiting;   /* candidates, by whose turn is next in their route */
    pst_link_t awake;     /* in core->awake while it may have room for one of them */
    pst_ns_t closed_until; /* its budget has nothing before: answers to calls make no room */
    struct endpoint *endpoint; /* NULL: it is the provider's */
    struct provider *provider;
} place_t;

#define USED_SLOTS 12                 /* of the last minute */
#define USED_SLOT (5 * PST_SEC)

typedef struct learner learner_t; /* learn.c */

/* One rate of a budget: what a call touches is together. */
typedef struct rate {
    uint64_t limit, cap;  /* in force; 0: none */
    int64_t have;         /* the slice leased to this broker; negative: to be paid back from the next */
    double pace;          /* what may be sent at this moment, so that a slice is not spent in one burst … */
    double burst;         /* … at most */
    double second;        /* a second's worth of the limit */
    uint64_t used;        /* in the latest slot */
} rate_t;

/* A rate budget whose counters are the store's. */
typedef struct bucket {
    timer_t_ timer;       /* it may have something again, or the slice is idle */
    place_t *place;       /* who waits for it */
    pst_ns_t paced_at;
    double share;         /* of a limit that the pace keeps to */
    double lane;          /* requests a second that it gets where other brokers take from it too; 0: there are none */
    pst_ns_t used_at;
    pst_ns_t taken_at;    /* when the last slice came */
    uint64_t used_slot;   /* the latest slot's number */
    bool taking;          /* a LIMIT_TAKE is on its way */
    bool scarce;          /* since the last slice came: one was refused, or cut short */
    uint8_t limited_n, limited[PST_RATE_COUNT]; /* the rates that have a limit */
    rate_t rate[PST_RATE_COUNT];
    learner_t *learner;   /* NULL: its rate need not be found out */
    char *name;
    uint64_t asked;       /* of requests, by the TAKE on its way */
    pst_ns_t ask_at;      /* refused until then */
    uint64_t configured[PST_RATE_COUNT]; /* 0: nothing */
    uint8_t source[PST_RATE_COUNT]; /* pst_limit_source_t of limit */
    uint64_t kept[PST_RATE_COUNT]; /* what the store remembers of what was learned */
    pst_ns_t kept_at;
    uint64_t used[PST_RATE_COUNT][USED_SLOTS]; /* for who looks on: in the slots before the latest */
    uint64_t used_day, day; /* requests of the day so far, by the wall clock */
} bucket_t;

/* OpenRouter's order of endpoints by their uptime. */
typedef enum tier { TIER_NORMAL, TIER_LATER, TIER_LAST } tier_t;

typedef struct health health_t; /* health.c */
typedef struct usage usage_t;   /* estimate.c */

/* What is concluded from the calls of the last minutes. */
typedef struct standing {
    uint8_t tier;
    uint16_t uptime_per_mille; /* 1000 after too few calls */
    bool measured;        /* there were calls enough for the speeds */
    double latency[PST_QUANTILES];    /* seconds */
    double throughput[PST_QUANTILES]; /* output tokens a second */
} standing_t;

/* Why something rests, and how it comes back: after `until` a few calls are let through (probing) until one works. */
typedef struct rest {
    pst_ns_t until;       /* not before; 0: free */
    pst_ns_t probing_since;
    bool parked;          /* key, credit, quota, outage: a person should know.  false: a mere limit */
    bool probing;
    uint8_t cause;
    timer_t_ timer;
    uint32_t streak;      /* rests in a row: doubles the next */
    uint32_t failures;    /* errors in a row that may mean an outage */
    pst_ns_t since;       /* when they began */
    pst_ns_t parked_at;   /* the last time: what was sent before says nothing of now */
} rest_t;

/* How many a second: of the last half-second, and of the one before. */
typedef struct meter {
    pst_ns_t since;
    uint32_t n;
    double rate;
} meter_t;

typedef struct provider {
    uint32_t room;        /* sum of its pools' free places */
    uint32_t places;      /* sum of its pools' places */
    uint32_t concurrency, in_flight;
    pst_reserve_t reserve;
    bool on;
    bool limited;         /* the account's limits are configured, or some of them */
    bool deny_data_collection, zdr;
    bool has_models;      /* the configuration names models it serves: no others are passed through */
    bucket_t *bucket;     /* NULL: no limit configured */
    pst_link_t pools;     /* of workers that serve it */
    place_t place;
    rest_t rest;
    char *name;
    uint32_t urls, params;
} provider_t;

/* Of an endpoint's calls, since the broker began. */
typedef struct totals {
    uint64_t calls, completed, rate_limited; /* what is missing from their sum has failed */
    uint64_t input, cached, output, cost_nano;
} totals_t;

/* What every call touches is in the first three lines of memory. */
typedef struct endpoint {
    uint32_t id;
    uint32_t provider;
    uint32_t concurrency, in_flight;
    uint32_t window;      /* calls in flight while nothing is known of its limits; 0: no bound */
    uint32_t max_output;
    bool on;
    bool limited;         /* some limit is configured, its own or the account's: nothing has to be found out carefully */
    bool caches_prompts;
    double price_input, price_output, price_cached, price_request;
    place_t place;
    bucket_t *bucket;     /* NULL: no limit configured or learned */
    usage_t *usage;       /* NULL: no answer yet */
    meter_t meter;        /* of what is sent */
    rest_t rest;
    health_t *health;     /* NULL: no call yet */
    char *model;
    uint32_t flags, params, context;
    uint32_t stats_at, append_at; /* where it was found last in a segment's account, and in a result pack */
    uint32_t refused, answered; /* lately */
    pst_ns_t worked;      /* when the latest call began that worked */
    totals_t totals;
    char *quantization, *variant;
} endpoint_t;

typedef struct model {
    char *name;
    uint32_t *endpoints;
    uint32_t endpoints_n;
} model_t;

typedef struct candidate {
    pst_heap_node_t node; /* in its group's heap, or in that of the place it waits at */
    place_t *place;       /* NULL: it does not wait */
    route_t *route;
    place_t *woken_by;    /* which let it go … */
    uint32_t endpoint;
    uint32_t group;
    double pass;          /* how far its turns have come: the least first, each takes it on by the square of its cost */
    pst_link_t woken;     /* … in route->woken from then on until the route has had its turn */
    uint32_t at;          /* its place in the route's order */
    uint8_t model;        /* position in the route's models */
    uint8_t rank;         /* by uptime and preferences: the least first */
    uint16_t place_in_order; /* the user's; behind it all others */
    double key;           /* what the user sorts by, the least first */
    double allowed;       /* a windowed batch's plan: calls it may make here now; negative: as many as it can */
    uint64_t sent;        /* by the plan's batch */
    double rate;          /* of these a second, lately */
} candidate_t;

/* Candidates that stand equal: the choice among them is by what they cost, or as the user sorts. */
typedef struct group {
    uint32_t first, end;  /* in the route's candidates */
    pst_heap_t ready;     /* those that do not wait */
    double pass;          /* of the latest choice */
} group_t;

typedef enum route_state { ROUTE_IDLE, ROUTE_READY, ROUTE_WAITING } route_state_t;

struct route {
    uint32_t id;
    uint32_t refs;
    uint8_t url;
    uint8_t given_up;     /* bits of the models that are not asked: of jobs that failed there */
    char *bytes;
    size_t bytes_n;
    pst_arena_t arena;
    pst_route_t wish;
    candidate_t **candidates; /* in the order they are tried in */
    uint32_t candidates_n;
    group_t *groups;
    uint32_t groups_n;
    pst_ns_t ranked_at;
    uint32_t parkings;    /* core->parkings when models_open was found */
    uint8_t models_open;  /* the first of its models with an endpoint that is not parked; later ones are not asked */
    pst_heap_t shares;    /* with active flows, by priority and their tenant's work */
    pst_link_t all_shares;
    pst_heap_node_t node; /* in core->ready */
    route_state_t state;
    pst_ns_t tried_at;    /* when no candidate could take a job, */
    uint8_t tried_as;     /* of this priority */
    pst_link_t woken;     /* candidates */
    pst_link_t for_loads; /* in core->for_loads */
    uint32_t loading;     /* flows */
    timer_t_ timer;       /* of the plan */
    bool caches;          /* a candidate caches prompts */
    batch_t *planned;     /* the batch with a window whose plan it is; NULL: of all others */
    flow_t *planned_flow;
    pst_ns_t planned_at;
    double mean_input, mean_output; /* tokens of its jobs */
    char key[33];         /* url and bytes, given_up, planned batch */
};

/* A tenant's flows of one route and priority. */
struct share {
    pst_heap_node_t node; /* in route->shares while it has active flows */
    pst_link_t of_route;
    struct tenant *tenant;
    route_t *route;
    uint8_t priority;
    uint32_t refs;        /* flows */
    pst_heap_t flows;     /* active ones, by their batch's work */
};

/* Whose batches they are. */
typedef struct tenant {
    char *name;
    double work;          /* tokens sent, older ones for less */
    uint32_t batches;     /* that are its; with the last it is forgotten */
    uint32_t flows;       /* active */
} tenant_t;

/* What the submitter says of one job, while its pack is open. */
typedef struct slot {
    uint64_t prefix;       /* of the prompt's beginning; 0: none worth keeping together */
    uint32_t input;        /* estimated tokens */
    uint32_t output_limit; /* tokens; 0: the request names none */
} slot_t;

typedef struct tokens {
    uint32_t input, output;
} tokens_t;

#define HOLDERS_MAX 8

/* A pack some of whose jobs are open, running or waiting. */
typedef struct live {
    pst_blob_t *headers, *bodies; /* NULL: to be loaded again before the next dispatch */
    slot_t *slots;        /* NULL unless open */
    uint32_t records;
    bool loading;
    pst_link_t lru;       /* in core->open while bytes are held */
    pst_peer_t holders[HOLDERS_MAX]; /* workers that hold the pack; 0: free place */
    job_t *record[];      /* by slot; NULL: none */
} live_t;

typedef struct pack {
    uint32_t base;        /* ordinal of its first job in the batch */
    uint32_t segment;
    uint32_t route;
    uint32_t index_lo, index_hi;
    uint32_t bytes;       /* as stored, headers and bodies */
    uint32_t next;        /* in its flow; NONE at the end */
    uint16_t jobs;
    uint16_t ended;
    uint16_t next_slot;   /* fresh jobs are those from here on without record or result */
    bool stored;
    live_t *live;
} pack_t;

typedef enum job_state { JOB_RUNNING, JOB_WAITING, JOB_READY } job_state_t;

struct job {
    timer_t_ timer;       /* WAITING: its due time */
    pst_link_t link;      /* RUNNING: worker's list; READY: flow's list */
    batch_t *batch;
    flow_t *flow;
    uint32_t pack;
    uint16_t slot, dispatch;
    uint8_t attempts;
    uint8_t given_up;     /* bits of the route's models that failed it */
    uint8_t state;
    bool remembered;      /* the store has a RETRY of it */
    bool held;            /* READY, and waits for the first job of its prompt's beginning */
    beginning_t *leads;   /* RUNNING as that first job */
    uint32_t endpoint;    /* RUNNING: where; else the last one, to be avoided; NONE */
    struct worker *worker;/* RUNNING */
    tokens_t reserved;    /* none: adopted after a restart */
    uint32_t estimate;    /* of its input, by the submitter */
    uint64_t cost_nano;   /* reserved */
    uint64_t cost_spent;  /* of failed attempts that were billed */
    pst_ns_t started;
    pst_ns_t failed_at;   /* the first time; 0: it has not */
    uint64_t due_wall_ms;
    pst_attempt_t *history; /* of attempts before; endpoint: core's endpoint ids, cut to 16 bits */
    uint32_t history_n;
    job_t *spare;           /* the next record without a job */
};

typedef struct pool {
    pst_link_t link;      /* in its provider's list */
    struct worker *worker;
    uint32_t provider;
    uint32_t jobs, in_flight;
} pool_t;

typedef struct worker {
    pst_peer_t peer;
    pool_t **pools;
    uint32_t pools_n;
    pst_link_t running;
    pst_link_t link;
} worker_t;

/* Outcomes of one OUTCOMES message that are not safe yet. */
typedef struct receipt {
    pst_peer_t worker;
    uint64_t number;
    uint32_t pending;
} receipt_t;

typedef struct segment {
    uint32_t id, base, jobs;
    uint64_t text_bytes;
    uint32_t next_n;      /* number of the next result pack */
    uint32_t stored_n;    /* result packs that are safe */
    uint32_t in_flight;   /* appends on their way */
    pst_link_t sent;      /* they */
    append_t *gathering;
    pst_seg_stats_t stats;
    uint32_t *stat_endpoints; /* core endpoint ids of stats.endpoints */
} segment_t;

struct append {
    batch_t *batch;
    segment_t *segment;
    uint32_t n;
    pst_arena_t arena;
    pst_result_pack_t pack;
    uint32_t results_cap, endpoints_cap, blobs_cap;
    uint32_t *endpoint_ids;
    pst_blob_t **blobs;
    receipt_t **receipts;
    uint32_t receipts_n, receipts_cap;
    pst_slot_ref_t *ended; /* the job of each result; as many as results_cap */
    pst_slot_ref_t *unretry;
    uint32_t unretry_n, unretry_cap;
    uint32_t *spent;
    uint32_t spent_n, spent_cap;
    size_t bytes;
    pst_link_t link;      /* in core->gathered until it is sent, then in segment->sent */
};

typedef enum flow_state {
    FLOW_IDLE,     /* nothing to send */
    FLOW_ACTIVE,
    FLOW_LOADING,  /* its next pack is being read back */
    FLOW_BUDGET,   /* what the batch may cost is reserved by calls in flight */
    FLOW_HELD,     /* too many of its jobs wait for the first of their beginning */
} flow_state_t;

struct flow {
    batch_t *batch;
    route_t *base;        /* the packs' route */
    route_t *route;       /* the same, less what its jobs have given up, or with the batch's plan */
    share_t *share;
    pst_heap_node_t node; /* in share->flows while ACTIVE */
    uint32_t head, tail;  /* packs with fresh jobs; NONE */
    pst_link_t ready;     /* records to run now */
    pst_link_t of_batch;
    flow_state_t state;
    uint64_t left;        /* of its packs' jobs: not sent yet */
    int64_t quantum;      /* tokens left of its turn */
    char key[21];
};

typedef enum batch_state {
    BATCH_OPENING, BATCH_STAGING, BATCH_CLAIMING, BATCH_COMMITTING, BATCH_ACTIVE, BATCH_ENDING, BATCH_DELETING,
} batch_state_t;

/* What every job touches is in the first two lines of memory. */
struct batch {
    pack_t *packs;
    uint32_t *where;      /* per ordinal: result pack + 1 of its segment; 0: not ended */
    tenant_t *tenant;
    double work;          /* as tenant_t.work */
    double owed;          /* of the turn it has, which counts when that is over */
    uint64_t cost_reserved, cost_spent, max_cost_nano;
    uint32_t jobs, ended, running, waiting; /* jobs: of the packs known so far */
    uint32_t held;        /* its jobs that are */
    uint32_t flows_active, flows_loading;
    batch_state_t state;
    pst_drain_t drain;
    uint8_t priority;
    bool in_turn;
    bool budget_waited;   /* flows of it are in FLOW_BUDGET */
    bool hold_waited;     /* flows of it are in FLOW_HELD */
    uint8_t live_call;    /* PST_LIVE_… of a call (call.c); 0: it is a batch */
    bool begun;           /* of a call: a piece of its answer has gone to the client */
    pst_id_t id;
    timer_t_ timer;       /* staging idle, or expiry */
    char *name, *metadata, *key;
    uint64_t created_ms, accepted_ms, cancelling_ms, ended_ms, expires_ms;
    uint64_t window_s;
    uint32_t packs_n, packs_cap, packs_unstored;
    uint32_t jobs_accepted; /* all of them; 0: not accepted yet */
    segment_t **segments;
    uint32_t segments_n, segments_cap;
    pst_link_t flows;
    pst_link_t for_loads; /* routes that wait until fewer packs are being read back */
    uint32_t drain_next;  /* pack to finish next */
    uint32_t drain_loads;
    pst_link_t draining;  /* in core->draining while it is */
    uint32_t ops;         /* store operations not answered: the batch stays until they are */
    pst_peer_t peer;      /* who committed, and with which request */
    uint32_t req;
    bool opened;          /* the store knows it */
    pst_err_t open_err;   /* why the store refused the OPEN, while the COMMIT behind it is on its way */
    bool committed_before_opened; /* with a key: COMMIT came while OPEN was on its way */
};

/* A store operation on its way. */
typedef struct op {
    uint64_t token;
    pst_store_op_type_t type;
    batch_t *batch;
    pst_peer_t peer;
    uint32_t req;
    uint32_t pack;
    append_t *append;
    receipt_t *receipt;
    bucket_t *bucket;
    pst_id_t id;          /* DELETE of a batch the core does not hold */
    uint32_t next_free;
} op_t;

struct pst_core {
    pst_ns_t began;       /* the first step; 0: none yet */
    pst_ns_t now;
    uint64_t wall_ms;
    pst_rng_t rng;
    pst_core_opts_t opts;
    bool go, store_up, more;
    pst_ns_t configured_at;
    uint32_t parkings;    /* counts every parking and every end of one */
    double inflation;     /* what a token sent now counts in `work` */
    double inflation_base;
    pst_ns_t inflated_at; /* when it was inflation_base */
    uint32_t flows_active, flows_loading;
    pst_link_t for_loads; /* routes that wait until fewer packs are being read back */
    uint32_t step_jobs;   /* jobs this step has sent or ended so far */
    uint64_t store_used, store_max;
    pst_heap_t timers;
    job_t *spare_jobs;
    uint32_t spare_jobs_n;
    pst_map_t batches;    /* by id */
    pst_map_t workers;    /* by peer */
    pst_map_t routes_by_key;
    pst_map_t models_by_name;   /* names past 40 bytes by their hash */
    pst_map_t endpoints_by_name;
    pst_map_t tenants;
    pst_map_t flows;      /* by batch, route and what was given up */
    pst_map_t beginnings; /* prefix.c */
    pst_link_t beginnings_used; /* the latest last */
    route_t **routes;
    uint32_t routes_n, routes_cap;
    uint32_t routes_free; /* no number below it is free */
    provider_t **providers;
    uint32_t providers_n;
    endpoint_t **endpoints;
    uint32_t endpoints_n, endpoints_cap;
    model_t **models;
    uint32_t models_n;
    pst_heap_t ready;     /* routes, by whose turn is next */
    pst_link_t awake;     /* places */
    pst_link_t open;      /* live packs that hold bytes, least recently used first */
    uint64_t open_bytes;
    pst_link_t gathered;  /* appends that want to be sent */
    pst_link_t draining;
    pst_link_t worker_list;
    op_t *ops;
    uint32_t ops_n, ops_cap, ops_free;
    uint32_t ops_gen;
    uint32_t appends_out; /* on their way to the store */
    append_t *append_free;
    uint32_t appends_kept;
    pst_action_t *actions;
    uint32_t actions_n, actions_cap, actions_at;
    pst_arena_t scratch;  /* of the current step's actions */
    pst_blob_t **held;    /* references that actions need until the next step */
    uint32_t held_n, held_cap;
    batch_t **dead;       /* freed at the next step */
    uint32_t dead_n, dead_cap;
    pst_core_counters_t count;
    pst_core_causes_t causes;
    pst_core_gauges_t gauge;
};

/* core.c */
pst_action_t *core_action(pst_core_t *c, pst_action_type_t type);
pst_store_op_t *core_store(pst_core_t *c, pst_store_op_type_t type, batch_t *b, op_t **ret_op); /* ret_op NULL: no answer */
void core_reply(pst_core_t *c, pst_peer_t peer, uint32_t req, pst_err_t e, const pst_id_t *batch, bool accepted,
                const char *fmt, ...) PST_PRINTF(7, 8);
void core_notice(pst_core_t *c, pst_notice_t what, const pst_id_t *batch);
void core_timer(pst_core_t *c, timer_t_ *t, pst_ns_t at); /* PST_NEVER: out */
void core_hold(pst_core_t *c, pst_blob_t *b);
void *core_scratch(pst_core_t *c, size_t n);
void core_op_done(pst_core_t *c, op_t *op);
void core_bury(pst_core_t *c, batch_t *b);
/* 16-byte key of a name or of route bytes, for maps. */
void core_key(pst_view_t v, uint8_t salt, char key[16]);
/* The place of an id, n if it is not there: searched for only when it is not where it was last, at *hint. */
static inline uint32_t core_find_id(const uint32_t *ids, uint32_t n, uint32_t id, uint32_t *hint)
{
    if (*hint >= n || ids[*hint] != id)
        for (*hint = 0; *hint < n && ids[*hint] != id; ++*hint)
            continue;
    return *hint;
}
/* The bits of a double that is not negative are in its order. */
static inline uint64_t core_order(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

/* batch.c: the life of a batch */
batch_t *batch_find(const pst_core_t *c, const pst_id_t *id);
batch_t *batch_new(pst_core_t *c, const pst_id_t *id, const pst_batch_info_t *info);
pack_t *batch_add_pack(pst_core_t *c, batch_t *b, const pst_pack_entry_t *e, uint32_t segment, route_t *r);
segment_t *batch_segment(batch_t *b, uint32_t segment);
void batch_on_open(pst_core_t *c, pst_peer_t peer, const pst_msg_open_t *m);
void batch_on_pack(pst_core_t *c, const pst_event_t *ev);
void batch_on_commit(pst_core_t *c, pst_peer_t peer, const pst_msg_commit_t *m);
void batch_on_abort(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m);
void batch_on_cancel(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m);
void batch_on_delete(pst_core_t *c, pst_peer_t peer, const pst_msg_batch_req_t *m);
void batch_on_stored(pst_core_t *c, op_t *op, const pst_store_answer_t *a);
void batch_accept(pst_core_t *c, batch_t *b);
void batch_timer(pst_core_t *c, batch_t *b);
void batch_start_drain(pst_core_t *c, batch_t *b, pst_drain_t why);
void batch_check_end(pst_core_t *c, batch_t *b);
void batch_free(pst_core_t *c, batch_t *b);
pst_cause_t batch_drain_cause(const batch_t *b);
pst_job_status_t batch_drain_status(const batch_t *b);

/* call.c: jobs that somebody waits for */
void call_on_call(pst_core_t *c, const pst_event_t *ev);
void call_on_begun(pst_core_t *c, const pst_id_t *id);

/* pack.c: bytes of packs in memory */
live_t *pack_live(pst_core_t *c, batch_t *b, uint32_t pack);
void pack_open(pst_core_t *c, batch_t *b, uint32_t pack, const pst_pack_headers_t *h, pst_blob_t *headers,
               pst_blob_t *bodies);
void pack_load(pst_core_t *c, batch_t *b, uint32_t pack, bool bodies);
void pack_close(pst_core_t *c, batch_t *b, uint32_t pack);   /* lets its bytes go */
void pack_settle(pst_core_t *c, batch_t *b, uint32_t pack);  /* frees what nothing needs any more */
bool pack_is_open(const pack_t *p);
void pack_touch(pst_core_t *c, live_t *l);
void pack_make_room(pst_core_t *c, const pack_t *keep);
void pack_forget_worker(pst_core_t *c, pst_peer_t peer);
job_t *pack_record(const pack_t *p, uint16_t slot);

/* fair.c: whose turn is next */
void fair_age(pst_core_t *c);                    /* once a step */
/* Counted by batches. */
tenant_t *fair_tenant(pst_core_t *c, pst_view_t name);
void fair_tenant_put(pst_core_t *c, tenant_t *t);
/* Counted by flows. */
share_t *fair_join(route_t *r, tenant_t *t, uint8_t priority);
void fair_part(share_t *s);
void fair_enter(pst_core_t *c, flow_t *f);       /* it has something to send */
void fair_leave(pst_core_t *c, flow_t *f);
void fair_count(pst_core_t *c, batch_t *b, uint64_t tokens); /* sent, or answered */
bool fair_crowded(const pst_core_t *c);          /* a turn, once begun, is kept until it is over */
void fair_turn_over(batch_t *b);
route_t *fair_route(pst_core_t *c);              /* of those that are ready; NULL: none */
share_t *fair_share(route_t *r);                 /* NULL: no active flow */
flow_t *fair_flow(share_t *s);
bool fair_turn(route_t *r, uint64_t *ret_key);   /* key of its next turn, the least first; false: no active flow */

/* place.c: waiting for capacity */
void place_init(place_t *p, provider_t *provider, endpoint_t *endpoint);
void place_release(place_t *p);
void place_wait(pst_core_t *c, candidate_t *k, place_t *p);
void place_leave(candidate_t *k);                /* into no heap */
void place_wake(pst_core_t *c, place_t *p);      /* it may have room */
void place_let_go(pst_core_t *c);                /* of each place that was woken one candidate */
const share_t *place_next(place_t *p);           /* whose turn is next of who waits there; NULL: nobody */
void place_pass_on(pst_core_t *c, route_t *r);

/* fetch.c: brings to the cache what the first so many places in core->awake will touch */
#define FETCH_AHEAD 16
void fetch_awake(const pst_core_t *c);

/* sched.c: turns and dispatch */
void sched_add_pack(pst_core_t *c, batch_t *b, uint32_t pack);
void sched_activate(pst_core_t *c, flow_t *f);
void sched_remove_flows(pst_core_t *c, batch_t *b);
void sched_ready(pst_core_t *c, job_t *j);       /* a record that may run now */
void sched_loaded(pst_core_t *c, batch_t *b, uint32_t pack);
void sched_resume(pst_core_t *c, batch_t *b);    /* the store has caught up */
void sched_budget_freed(pst_core_t *c, batch_t *b);
void sched_hold_ended(pst_core_t *c, batch_t *b); /* jobs of it are held no more */
void sched_pump(pst_core_t *c);
void sched_drain(pst_core_t *c);
job_t *job_new(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t slot);
void job_free(pst_core_t *c, job_t *j);
void job_free_spares(pst_core_t *c);
void job_leave_worker(pst_core_t *c, job_t *j);  /* RUNNING -> limbo; budgets released */

/* route.c: which endpoints may serve, and which one now */
/* Counted.  known: refuse a route with a model that nothing serves. */
route_t *route_get(pst_core_t *c, pst_url_t url, pst_view_t bytes, bool known, pst_err_t *ret_err);
/* Counted: the same for jobs that have given up models, or with the plan of a batch (NULL: none). */
route_t *route_variant(pst_core_t *c, const route_t *base, uint8_t given_up, batch_t *planned);
void route_put(pst_core_t *c, route_t *r);
/* Of the endpoints that could serve it, all of which are parked for longer than `patience`, the one that is back first; NULL:
 * one is not parked, or there is none. */
const rest_t *route_rests(const pst_core_t *c, const route_t *r, pst_ns_t patience);
void route_resolve(pst_core_t *c, route_t *r);
void route_ready(pst_core_t *c, route_t *r);     /* if it has an active flow */
void route_rest(pst_core_t *c, route_t *r, route_state_t state);
void route_retry(pst_core_t *c, route_t *r, uint8_t priority); /* ready; every candidate is looked at again, if that may help */
void route_candidate_in(candidate_t *k);         /* it waits no more */

/* A job that looks for its endpoint. */
typedef struct pick {
    uint32_t avoid;        /* an endpoint that is only taken if there is no other; NONE */
    uint8_t priority;
    const slot_t *job;
    beginning_t *leader;   /* given back: what the job should wait for, if there is no candidate */
} pick_t;
/* Candidate for such a job, NULL: none can take it now. */
candidate_t *route_pick(pst_core_t *c, route_t *r, pick_t *pick);
/* What was picked has been sent. */
void route_sent(pst_core_t *c, candidate_t *k, const pick_t *pick, job_t *j);
/* given_up with the model that this endpoint was tried for. */
uint8_t route_give_up(const route_t *r, uint8_t given_up, uint32_t endpoint);
bool route_has_more(const route_t *r, uint8_t given_up);

/* plan.c: a batch with a window, as cheaply as that allows */
void plan_refresh(pst_core_t *c, route_t *r);
bool plan_allows(const candidate_t *k);
void plan_sent(candidate_t *k);
void plan_timer(pst_core_t *c, route_t *r);

/* prefix.c: jobs whose prompts begin alike */
beginning_t *beginning_find(pst_core_t *c, uint32_t endpoint, uint64_t prefix); /* NULL: not cached there, as far as is known */
bool beginning_leads(const beginning_t *b);      /* its first job is being answered */
void beginning_sent(pst_core_t *c, uint32_t endpoint, uint64_t prefix, job_t *j);
void beginning_hold(beginning_t *b, job_t *j);
void beginning_answered(pst_core_t *c, job_t *j); /* j leads, and has its answer */
void beginning_failed(pst_core_t *c, job_t *j);
void beginning_free_all(pst_core_t *c);

/* estimate.c: how many tokens a call will take */
tokens_t estimate_tokens(const endpoint_t *e, const slot_t *s);
/* Those of them that the provider counts against its limits when the call begins. */
tokens_t estimate_counted(const provider_t *p, const endpoint_t *e, tokens_t t);
uint32_t estimate_usual(const endpoint_t *e, uint32_t limit); /* what 95 % of answers with such a limit stay below */
double estimate_output(const endpoint_t *e, double unknown); /* what answers take on average */
void estimate_learn(endpoint_t *e, uint32_t estimated, const pst_outcome_t *o);
double estimate_ratio(const endpoint_t *e); /* real input tokens to estimated ones */

/* health.c: how an endpoint has done lately */
void health_note(pst_core_t *c, endpoint_t *e, const pst_outcome_t *o);
standing_t health_standing(const pst_core_t *c, const endpoint_t *e);
uint8_t health_tier(const pst_core_t *c, const endpoint_t *e); /* the same, less its speeds */

/* hist.c */
uint32_t hist_bucket(uint64_t v);
/* The upper edge of the bucket in which that share of the n values ends; 0: there are none. */
uint32_t hist_quantile(const uint32_t hist[PST_HIST_BUCKETS], uint64_t n, unsigned per_cent);
/* The same, placed within its bucket. */
double hist_within(const uint32_t hist[PST_HIST_BUCKETS], uint64_t n, unsigned per_cent);

/* endpoint.c: configuration, rests */
void endpoint_config(pst_core_t *c, const pst_core_config_t *config);
uint32_t endpoint_find(const pst_core_t *c, const pst_endpoint_name_t *n); /* NONE */
uint32_t endpoint_intern(pst_core_t *c, const pst_endpoint_name_t *n);     /* also of endpoints no longer configured */
endpoint_t *endpoint_for_passthrough(pst_core_t *c, pst_view_t name);      /* "<provider>/<upstream>" */
/* May one call more begin, of such a priority, for all that is counted here? */
bool endpoint_free(const pst_core_t *c, const endpoint_t *e, uint8_t priority);
bool provider_free(const pst_core_t *c, const provider_t *p, uint8_t priority);
void endpoint_widen(endpoint_t *e);
bucket_t *endpoint_bucket(pst_core_t *c, endpoint_t *e); /* made if there is none */
void endpoint_throttle(pst_core_t *c, endpoint_t *e, uint64_t wait_ms, bool whole_provider);
void endpoint_park(pst_core_t *c, endpoint_t *e, uint8_t cause, uint64_t wait_ms, bool whole_provider);
void endpoint_failed(pst_core_t *c, endpoint_t *e, uint8_t cause);
void endpoint_worked(pst_core_t *c, endpoint_t *e, pst_ns_t started);
void rest_timer(pst_core_t *c, rest_t *r, endpoint_t *e, provider_t *p);
double endpoint_cost(const endpoint_t *e, uint64_t input, uint64_t cached, uint64_t output); /* nano USD */
pst_endpoint_name_t endpoint_name(const pst_core_t *c, uint32_t id);
void endpoint_free_all(pst_core_t *c);

/* limit.c: budgets leased from the store */
#define BUCKET_NAME_MAX (2 * PST_NAME_BYTES_MAX + 2)
bucket_t *bucket_new(const char *name, place_t *place);
void bucket_free(bucket_t *b); /* NULL-safe */
void bucket_set(bucket_t *b, const uint64_t limit[PST_RATE_COUNT]); /* as configured */
uint64_t bucket_part(int rate, tokens_t t);              /* a call's part of a rate */
bool bucket_has(pst_core_t *c, bucket_t *b, tokens_t t); /* if not, its place is woken when it may */
bool bucket_may(pst_core_t *c, bucket_t *b);             /* the same of the smallest call */
void bucket_spend(pst_core_t *c, bucket_t *b, tokens_t t);
void bucket_settle(pst_core_t *c, bucket_t *b, tokens_t reserved, tokens_t real);
void bucket_unspend(pst_core_t *c, bucket_t *b, tokens_t reserved);
void bucket_taken(pst_core_t *c, bucket_t *b, const pst_store_answer_t *a);
void bucket_timer(pst_core_t *c, bucket_t *b);
void bucket_block(pst_core_t *c, bucket_t *b, pst_ns_t wait); /* nothing from it, by any broker */
void bucket_refused(bucket_t *b);               /* by the provider: its pace is a little too fast.  NULL-safe */
void bucket_learn(pst_core_t *c, bucket_t *b, pst_rate_t rate, uint64_t limit, pst_limit_source_t source);
void bucket_left(pst_core_t *c, bucket_t *b, pst_rate_t rate, uint64_t left);
void bucket_rate(bucket_t *b, double a_second); /* of requests, as refusals teach */
void bucket_keep(pst_core_t *c, bucket_t *b);   /* what was learned, if it is news */
uint64_t bucket_used(const pst_core_t *c, bucket_t *b, pst_rate_t rate); /* in the last minute, or in the day so far */
void bucket_restore(pst_core_t *c, pst_view_t name, const uint64_t limit[PST_RATE_COUNT],
                    const uint8_t source[PST_RATE_COUNT]);

/* learn.c: limits that nobody names */
void learn_start(const pst_core_t *c, endpoint_t *e);  /* a call begins */
void learn_refused(pst_core_t *c, endpoint_t *e, pst_ns_t started, uint64_t wait_ms);
void learn_answered(endpoint_t *e);
void learn_held_back(pst_core_t *c, bucket_t *b);      /* a job waits for the rate */
void learn_restore(const pst_core_t *c, bucket_t *b);
void learn_end(bucket_t *b);

/* worker.c */
void worker_on_hello(pst_core_t *c, const pst_event_t *ev);
void worker_on_capacity(pst_core_t *c, const pst_event_t *ev);
void worker_on_gone(pst_core_t *c, pst_peer_t peer);
worker_t *worker_find(const pst_core_t *c, pst_peer_t peer);
pool_t *worker_pool(const worker_t *w, uint32_t provider);
pool_t *worker_pick(const pst_core_t *c, const provider_t *p, const live_t *l);
void pool_take(pst_core_t *c, pool_t *p);
void pool_release(pst_core_t *c, pool_t *p);

/* outcome.c: what became of a job */
void outcome_on_message(pst_core_t *c, const pst_event_t *ev);
/* May the core itself end jobs now?  Not while the store is behind: what it has not taken is memory. */
bool outcome_room(const pst_core_t *c);
void outcome_retry_stored(pst_core_t *c, op_t *op);
/* Ends a job that no worker answered for. */
void outcome_end_job(pst_core_t *c, batch_t *b, uint32_t pack, uint16_t slot, const pst_job_header_t *h,
                     pst_job_status_t status, pst_cause_t cause, const char *message);
void outcome_send_appends(pst_core_t *c);
void outcome_append_stored(pst_core_t *c, op_t *op);
void receipt_done(pst_core_t *c, receipt_t *r);
void append_recycle(pst_core_t *c, append_t *a);
void append_free_all(pst_core_t *c);

/* stats.c */
pst_seg_endpoint_t *stats_endpoint(pst_core_t *c, segment_t *s, uint32_t endpoint);
void stats_cause(segment_t *s, uint8_t cause);
void stats_latency(pst_seg_endpoint_t *e, uint64_t latency_ms);
void stats_free(segment_t *s);
void stats_restore(pst_core_t *c, segment_t *s, const pst_seg_stats_t *from);
void stats_batch_info(pst_core_t *c, const batch_t *b, bool full, pst_arena_t *a, pst_batch_info_t *ret);

/* restore.c */
void restore_on(pst_core_t *c, const pst_restored_t *r);
void restore_go(pst_core_t *c);

#endif
