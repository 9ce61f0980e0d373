/* market.h - the core that ships, in a market of providers, in virtual time: how fast, how cheap, how fair it routes.
 *
 * Where the fault simulator (sim.h) asks whether every rule holds under every fault, with a hundred jobs, this one asks
 * for figures, with a million: nothing is kept of a job that can be made again from its number, and nothing of a result but
 * a bit.  One seed decides everything.
 *
 * The world: brokers (cores) that share one store of rate budgets; at each broker one worker a provider, whose room is
 * never what is short unless a scenario says so; providers with their limits, latencies, outages and prices; clients.
 * Who plays what:
 *   market_world.c     time, the brokers' shells, workers
 *   market_provider.c  what a provider admits, refuses, and when it answers
 *   market_store.c     the store's answers; its rate budgets are penstock.lua's, in C
 *   market_client.c    batches: the jobs' sizes, uploading, what came of them
 *   market_fluid.c     the least time and the least cost that limits allow
 *   market_figures.c   figures, the table of --verbose
 *   market.c           options; the scenarios are in market_{limits,cost,fair,decision}.c
 *
 * Checked in every run, whatever its figures:
 *   every job has one result, and the batch's cost is that of its answers
 *   of every rate no more is granted than its cap and what has flowed in since; no broker calls more often than it
 *     was granted, nor has more calls in flight than is configured
 *   every OUTCOMES is acknowledged; at the end the core holds nothing
 *   virtual time and the core's steps stay within the scenario's bounds */
#ifndef MARKET_H
#define MARKET_H

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "core/core.h"

#define MARKET_BROKERS_MAX 4

typedef struct market market_t;
typedef struct broker broker_t;
typedef struct batch batch_t;

/* ---- time --------------------------------------------------------------------------------------------------------- */

typedef enum event_kind {
    EVENT_TICK,   /* a broker's deadline */
    EVENT_STORE,  /* the store answers */
    EVENT_CALL,   /* a call reaches its provider */
    EVENT_ANSWER, /* its answer reaches the worker */
    EVENT_FLUSH,  /* a worker sends its outcomes */
    EVENT_CLIENT, /* a client goes on */
    EVENT_TIMER,  /* the scenario's */
} event_kind_t;

typedef struct event {
    pst_heap_node_t node;
    event_kind_t kind;
    struct event *spare; /* the next in a list of those that are over */
} event_t;

typedef void timer_fn(market_t *m, void *arg);

/* ---- providers ---------------------------------------------------------------------------------------------------- */

/* How requests are counted; tokens always flow into a bucket. */
typedef enum counting {
    COUNT_BUCKET, /* flow in steadily, up to a burst */
    COUNT_SECOND, /* a sixtieth of the minute's in each second by the clock, what is left is lost */
} counting_t;

/* What of a call's output is counted when. */
typedef enum charging {
    CHARGE_RESERVED, /* as much as it may become, at once; what it did not take comes back with the answer */
    CHARGE_USED,     /* what it took, with the answer */
} charging_t;

/* Where the configuration has a provider's limits: its endpoints have equal parts of them. */
typedef enum known { KNOWN_NOWHERE, KNOWN_AT_PROVIDER, KNOWN_AT_ENDPOINT } known_t;

typedef enum outage { OUTAGE_REFUSED, OUTAGE_CONNECTION } outage_t;

/* An account at a provider, as a scenario states it.  Zero is "none", or the default named. */
typedef struct provider_plan {
    uint64_t limit[PST_RATE_COUNT];
    counting_t counting;
    charging_t charging;
    double burst_s;          /* seconds' worth a bucket holds; 0: 60 */
    known_t known;
    uint32_t concurrency;    /* calls in flight it admits */
    uint32_t room;           /* calls a worker has room for; 0: 16,384 */
    bool retry_after;        /* its 429 say when to come back */
    bool headers;            /* its answers, 429 too, say how its limits stand */
    double latency_s;        /* median of a call without its output; 0: 2 s */
    double latency_sigma;    /* of its logarithm; 0: 0.6 */
    double token_s;          /* a token of output; 0: 5 ms; < 0: nothing */
    double tokenizer;        /* its tokens to the submitter's estimate; 0: 1.15 */
    double failures;         /* share of calls that fail with a 500 */
    outage_t outage;
    pst_ns_t outage_from, outage_until;
} provider_plan_t;

typedef struct provider {
    provider_plan_t plan;
    char name[16];
    double level[PST_RATE_COUNT]; /* of its buckets: requests, tokens */
    pst_ns_t level_at;
    uint64_t window;              /* number of the second that `window_used` counts */
    uint64_t window_used;
    uint64_t day, day_used;
    pst_ns_t clock_skew;          /* where its seconds begin */
    uint32_t in_flight;
    pst_endpoint_name_t *names;   /* of its endpoints: OUTCOMES name them by their place in it */
    uint32_t names_n;
} provider_t;

/* What happened at an endpoint so far. */
typedef struct tally {
    uint64_t sent;      /* by brokers */
    uint64_t calls;     /* that reached it */
    uint64_t admitted, throttled, failed, answered;
    uint64_t input, output; /* tokens of answers */
} tally_t;

typedef struct endpoint {
    uint32_t provider, model;
    char name[16];      /* upstream */
    double price_input, price_output; /* USD a million tokens */
    uint16_t place;     /* in its provider's names */
    tally_t tally;
    uint32_t in_flight; /* sent, and not heard of by its broker */
    pst_ns_t last_admitted;
} endpoint_t;

/* ---- calls -------------------------------------------------------------------------------------------------------- */

typedef struct job {
    uint32_t input;        /* tokens, as the submitter estimates them */
    uint32_t output_limit; /* max_tokens; 0: none */
    uint32_t output;       /* tokens of the answer */
    double noise;          /* of the estimate */
} job_t;

typedef struct call {
    event_t event;         /* first */
    struct call *next;     /* in the outbox */
    broker_t *broker;
    uint32_t life;         /* of the broker that sent it */
    batch_t *batch;
    uint32_t endpoint;
    uint32_t pack, index;
    uint16_t slot, dispatch;
    job_t job;
    uint32_t real_input;
    bool admitted;
    uint8_t verdict, cause;
    uint16_t status;
    uint64_t wait_ms;
    pst_limit_report_t limits[PST_RATE_COUNT]; /* as they stood when it was admitted or refused; limit 0: not said */
    pst_ns_t started;
    pst_ns_t took;
} call_t;

/* One provider's worker of one broker. */
typedef struct worker {
    event_t flush;
    broker_t *broker;
    uint32_t provider;
    pst_peer_t peer;
    call_t *outbox, **outbox_tail;
    uint32_t outbox_n;
    pst_ns_t flushed_at;
    uint64_t number, acked; /* OUTCOMES sent, ACKs heard */
} worker_t;

/* ---- brokers ------------------------------------------------------------------------------------------------------ */

/* Real nanoseconds in pst_core_step, when they are measured. */
typedef struct stopwatch {
    bool on;             /* then outcomes are handed in while the core may send nothing: their share shows */
    uint64_t clock_ns;   /* what looking at the clock takes: it is taken off each step's time */
    uint64_t outcomes_ns, other_ns;
    uint64_t outcomes, sent;
} stopwatch_t;

struct broker {
    event_t tick;
    market_t *market;
    uint32_t number, life;
    pst_core_t *core;    /* NULL: down */
    worker_t *workers;   /* by provider */
    uint32_t *in_flight; /* by endpoint */
    uint32_t *in_flight_provider;
    pst_ns_t store_at;   /* its last operation is answered then: they keep their order */
    batch_t *last_turn;  /* whose jobs it sent last */
};

/* ---- tenants and batches ------------------------------------------------------------------------------------------- */

#define TENANTS_MAX 16

typedef struct tenant {
    const char *name;
    uint64_t sent, tokens; /* its calls so far, and their real tokens */
} tenant_t;

typedef struct sizes {
    double input_median, input_sigma;
    double output_median, output_sigma; /* of the answers */
    uint32_t output_limit;              /* max_tokens; 0: none */
} sizes_t;

#define MODELS_MAX 4

typedef struct batch_plan {
    uint32_t broker;
    uint32_t jobs;
    sizes_t sizes;
    const char *tenant;     /* NULL: none */
    uint8_t priority;
    uint64_t window_s;
    uint64_t max_cost_nano;
    uint32_t models[MODELS_MAX]; /* packs take turns through them */
    uint32_t models_n;      /* 0: models[0] alone */
    pst_sort_t sort;
    pst_ns_t at;            /* submitted then; 0: at the start */
} batch_plan_t;

struct batch {
    event_t event;          /* the client's next word */
    batch_plan_t plan;
    uint32_t number;        /* in the market; the id ends in it */
    tenant_t *tenant;       /* NULL: none */
    pst_id_t id;
    uint32_t packs, packs_sent, packs_unanswered;
    bool opening, opened, committing, accepted, ended;
    pst_ns_t accepted_at, last_sent_at;
    uint64_t turns_accepted, turns_last_sent; /* turns so far, when it was accepted and when its last job was sent */
    uint64_t sent;          /* calls */
    uint64_t cost_nano;     /* of answers, by the provider's account */
    uint64_t core_cost_nano;/* by the results */
    /* A batch whose broker died goes on as another one, of the jobs without results. */
    batch_t *origin;        /* itself, if it is none of those */
    uint32_t *map;          /* NULL, or the origin's number of each job */
    /* the origin's */
    uint8_t *has_result;    /* bits */
    uint32_t results, completed, failed, expired, cancelled;
    pst_ns_t last_result_at;
    pst_ns_t last_latency;  /* of the call that gave the last result */
};

/* ---- the store ---------------------------------------------------------------------------------------------------- */

typedef struct budget budget_t;
typedef struct op op_t;

/* ---- the world ---------------------------------------------------------------------------------------------------- */

typedef struct options {
    uint64_t jobs, seed;
    bool verbose;
    double every_s, from_s, until_s; /* of the table */
} options_t;

struct market {
    const options_t *options;
    pst_rng_t rng;
    pst_ns_t now, began;
    uint64_t steps, steps_max;
    pst_heap_t events;
    broker_t broker[MARKET_BROKERS_MAX];
    uint32_t brokers_n;
    provider_t *providers;
    uint32_t providers_n;
    endpoint_t *endpoints;  /* in the order of their models */
    uint32_t endpoints_n;
    batch_t **batches;      /* by number */
    uint32_t batches_n, batches_cap;
    tenant_t tenants[TENANTS_MAX];
    uint32_t tenants_n;
    uint32_t batches_open;  /* not ended */
    uint32_t accepted;      /* batches, so far */
    pst_map_t budgets;      /* by name */
    budget_t **budget_list;
    uint32_t budgets_n;
    event_t *spare_calls, *spare_ops;
    pst_blob_t *bodies[PST_PACK_JOBS_MAX + 1]; /* by the pack's jobs: all alike */
    pst_blob_t *answer_body;
    uint64_t turns;         /* runs of TASKS of one batch */
    uint64_t crashes;
    stopwatch_t watch;
    pst_arena_t arena;      /* of the current step */
    tally_t *shown;         /* what the table has told already, of endpoints */
    uint64_t shown_tokens[TENANTS_MAX];
    bool workers_wait;      /* set before market_open */
    bool cut;               /* the scenario is over before its batches are: what is left is no failure */
    bool failed;
    char failure[256];      /* the first broken rule */
};

/* market_world.c */
market_t *market_new(const options_t *o, uint32_t brokers);
void market_destroy(market_t **m);
uint32_t market_provider(market_t *m, const provider_plan_t *p);
/* Endpoints come in the order of their models, counted from 0. */
uint32_t market_endpoint(market_t *m, uint32_t provider, uint32_t model, double price_input, double price_output);
/* Brokers, workers, GO: once, when providers and endpoints are there. */
void market_open(market_t *m);
/* Until every batch has ended, or `until` (virtual, since the run began) is over, which is a failure. */
void market_run(market_t *m, double until_s);
/* So long, whatever has ended then. */
void market_run_for(market_t *m, double s);
/* Lets the next event happen; false if there is none, or not until then. */
bool market_next(market_t *m, pst_ns_t until);
void market_workers_join(market_t *m); /* who waited for it: market_t.workers_wait */
uint64_t market_real_ns(void);
stopwatch_t market_stopwatch(void); /* running */
void market_at(market_t *m, pst_ns_t at, timer_fn *fn, void *arg);
/* Kills the broker now; another one starts a second later. */
void market_crash(market_t *m, uint32_t broker);
void market_step(broker_t *b, const pst_event_t *ev);
void market_schedule(market_t *m, event_t *e, event_kind_t kind, pst_ns_t at);
void market_fail(market_t *m, const char *fmt, ...) PST_PRINTF(2, 3);
void *market_scratch(market_t *m, size_t n); /* until the step is over */
/* Something of n bytes, zero, that begins with its event: one that is over, or a new one. */
void *market_take(event_t **spare, size_t n);
void market_put(event_t **spare, event_t *e);
void market_free_spares(event_t **spare);
uint64_t market_wall_ms(const market_t *m);
/* What must hold when all is over. */
void market_check_end(market_t *m);
double market_normal(uint64_t bits);             /* standard normal of uniform bits, cut at 3.7 */
pst_ns_t market_lognormal(market_t *m, double median_s, double sigma);
static inline double market_seconds(const market_t *m, pst_ns_t at)
{
    return (double)pst_ns_since(at, m->began) / 1e9;
}

/* market_provider.c */
void market_provider_open(market_t *m, provider_t *p);
/* Decides what becomes of it, and returns when the answer begins its way back. */
pst_ns_t market_provider_call(market_t *m, call_t *c);
void market_provider_answered(market_t *m, call_t *c);
double market_provider_burst(const provider_t *p, int rate); /* what its bucket holds */

/* market_store.c */
void market_store_submit(broker_t *b, const pst_store_op_t *op);
/* What is read back at start: learned limits. */
void market_store_restore(broker_t *b);
void market_store_answer(market_t *m, op_t *op);
/* n calls of an endpoint are on their way: were they granted? */
void market_store_check_sent(broker_t *b, uint32_t endpoint, uint32_t n);
void market_store_broker_died(broker_t *b);
double market_granted(const market_t *m); /* of what may have been granted, the greatest share of any rate at any time */
void market_store_free(market_t *m);

/* market_client.c */
batch_t *market_submit(market_t *m, const batch_plan_t *plan);
batch_t *market_batch_of(market_t *m, const pst_id_t *id);
uint32_t market_batch_index(const batch_t *b, uint32_t pack, uint16_t slot); /* in the batch itself */
uint32_t market_batch_segment(uint32_t pack); /* all but the last are full */
job_t market_batch_job(const market_t *m, const batch_t *b, uint32_t index);
/* Headers of a pack as its client made them; in the market's arena. */
void market_batch_pack(market_t *m, const batch_t *b, uint32_t pack, pst_pack_headers_t *ret);
pst_blob_t *market_batch_headers(const pst_pack_headers_t *h);
void market_client_go_on(market_t *m, batch_t *b);
void market_client_heard(market_t *m, batch_t *b, const pst_msg_done_t *d);
void market_batch_results(market_t *m, batch_t *b, const pst_store_op_t *op);
/* Whether every job has its result. */
void market_batch_check_end(market_t *m, const batch_t *b);
void market_batch_ended(market_t *m, batch_t *b);
/* The jobs of a dead broker's batches that have no result yet, as new batches. */
void market_batch_resubmit(market_t *m, uint32_t broker);
void market_batch_free(batch_t *b);

/* market_fluid.c: of all batches submitted, whose models every endpoint serves */
double market_least_seconds(const market_t *m, uint32_t endpoints); /* by the first so many alone */
double market_least_cost(const market_t *m, double seconds); /* USD */

/* market_figures.c */
typedef enum want { REPORT, AT_MOST, AT_LEAST } want_t;

/* One scenario's run: where its figures go. */
typedef struct run {
    const options_t *options;
    const char *scenario;
    char variant[64];       /* empty, or told with each figure */
    uint32_t failures;
} run_t;

void run_figure(const run_t *r, const char *figure, double value, want_t want, double bound);
/* Ends the market: its checks, and their failure if there is one. */
void run_end(run_t *r, market_t **m);
tally_t tally_sum(const market_t *m);
void table_begin(market_t *m);

typedef struct scenario {
    const char *name;
    void (*run)(run_t *r);
} scenario_t;

extern const scenario_t market_limits[], market_cost[], market_fair[], market_decision[]; /* name NULL at the end */

#endif
