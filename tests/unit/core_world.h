/* core_world.h - a core, a store that answers at once, and a worker that the test plays. */
#ifndef PST_CORE_WORLD_H
#define PST_CORE_WORLD_H

#include "unit.h"

#include "base/blob.h"
#include "core/core.h"

#define JOBS 8
#define WORKER 100u
#define CLIENT 1u
#define WORLD_BATCHES 16
#define WORLD_PACKS 16
#define WORLD_TASKS 4096

typedef struct task {
    pst_task_ref_t ref;
    uint8_t batch; /* its number */
    pst_ns_t at;
    char provider[32], model[32];
    bool bytes;
    pst_peer_t worker;
    uint8_t live;
} task_t;

typedef struct world {
    pst_core_t *core;
    pst_ns_t now;
    uint64_t wall_ms;
    bool store_mute; /* answers are kept back */
    pst_store_op_t kept[64];
    uint32_t kept_n;
    pst_blob_t *headers[WORLD_BATCHES][WORLD_PACKS], *bodies[WORLD_BATCHES][WORLD_PACKS];
    uint32_t packs;
    task_t tasks[WORLD_TASKS];
    uint32_t tasks_n;
    uint64_t acked;
    uint32_t revoked;
    pst_msg_done_t done;
    uint32_t results, retries, appends;
    uint32_t live_ops, kept_ops; /* of calls, and of batches */
    uint32_t notices;
    pst_result_t last_result;
    char last_message[256];
    uint32_t last_attempts;
    bool ended;
    uint32_t ends; /* batches that have */
    uint8_t end_status;
    pst_batch_info_t summary;
    uint64_t calls; /* of the summary's first endpoint */
    uint32_t loads;
    pst_pack_headers_t load_headers;
    pst_arena_t arena;
    uint64_t outcome_number;
    uint64_t take_wait_ms;
    bool take_refuse;
    bool metered;       /* a budget holds what it was filled with: full at first, then its limit a minute */
    double level[PST_RATE_COUNT];
    double others;      /* what other brokers take of that */
    pst_ns_t filled_at; /* 0: never */
    uint32_t keeps;     /* LIMIT_KEEPs, and what the last one said */
    char kept_name[80];
    uint64_t kept_limit[PST_RATE_COUNT], kept_source[PST_RATE_COUNT];
    uint32_t parked, resumed;
    pst_err_t refuse[PST_STORE_OP_COUNT]; /* what the store says to such an operation */
    uint32_t deletes;
    pst_core_pool_t pools[8]; /* of a worker that says hello: room for `jobs` in each */
    uint32_t pools_n;
    int64_t granted[PST_RATE_COUNT]; /* of all budgets, less what came back */
    uint64_t asked[PST_RATE_COUNT];  /* by the last TAKE: the least */
    uint32_t output_limit; /* of jobs to be submitted; 100 at first */
} world_t;

/* What is submitted: zeros and NULL are the usual. */
typedef struct wish {
    const char *models[3];
    uint64_t window_s, max_cost_nano;
    uint32_t jobs, packs;
    bool reject;
    const char *order;
    const char *key;
    pst_view_t route; /* encoded; empty: made of the above */
    uint8_t batch;    /* its number; 0: ID */
    const char *tenant;
    uint32_t priority; /* 1 + pst_priority_t; 0: normal */
    uint32_t input;    /* tokens of each job; 0: 100 */
    uint64_t prefix;   /* of the first job; the others' go round: prefix, prefix + 1, … */
    uint32_t prefixes; /* so many; 0: one */
} wish_t;

/* What a worker says of a call. */
typedef struct say {
    pst_verdict_t verdict;
    pst_cause_t cause;
    uint16_t status;
    uint64_t wait_ms;
    bool whole;
    uint64_t latency_us;    /* 0: 5 ms */
    uint32_t input_tokens, output_tokens; /* of DONE; 0: 10 and 20 */
    uint32_t cached_tokens;
    const pst_limit_report_t *limits; /* what its headers say; endpoint 0 is the call's */
    uint32_t limits_n;
} say_t;

extern const pst_id_t ID;
extern const say_t DONE, SERVER;

void run(world_t *w, const pst_event_t *ev);
void unmute(world_t *w);
void tick(world_t *w, pst_ns_t d);
void pass(world_t *w, pst_ns_t d);
void configure(world_t *w, const pst_core_config_t *c);
void configure_limited(world_t *w, uint64_t rpm);
void hello(world_t *w, pst_peer_t peer, uint32_t jobs, const pst_task_ref_t *running, uint32_t running_n);
world_t *world_new(void);
void world_free(world_t *w);
pst_view_t encoded(world_t *w, const pst_route_t *r); /* lives as long as the world */
pst_view_t route_bytes(world_t *w, const wish_t *x);
void send_pack(world_t *w, const wish_t *x, uint32_t pack);
void send_commit(world_t *w, uint32_t packs, uint32_t jobs);
void send_open(world_t *w, const wish_t *x);
void submit(world_t *w, wish_t x);
void batch_req(world_t *w, pst_event_type_t type);
/* A CALL of the wish's first job, with what `how` says beyond that. */
void send_call(world_t *w, const wish_t *x, pst_msg_call_t how);
void outcome_from(world_t *w, pst_peer_t worker, const task_t *t, say_t s);
void outcome(world_t *w, uint32_t task, say_t s);
/* Lets time pass in which each call is answered after `latency`: then it is no task any more.  Gives calls sent meanwhile. */
uint32_t answer_for(world_t *w, pst_ns_t time, pst_ns_t latency, say_t s);
void finish_all(world_t *w, uint32_t from);
void info(world_t *w, pst_batch_info_t *i);

#endif
