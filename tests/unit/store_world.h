/* store_world.h - a redis-server, and stores on it, for tests: each operation is submitted, waited for, and its answer
 * given back.  Everything fails the test by PST_ASSERT. */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include <hiredis/hiredis.h>
#include <sys/types.h>

#include "proc/config.h"
#include "proc/loop.h"
#include "store/store.h"

/* ---- the server ---------------------------------------------------------------------------------------------------- */

typedef struct server {
    char dir[64];
    char url[128];
    char socket[96];
    pid_t pid;
    redisContext *raw; /* to look behind the store's back */
} server_t;

/* extra: further arguments, NULL at the end; NULL for none. */
void server_start(server_t *s, const char *const *extra);
void server_again(server_t *s, const char *const *extra); /* after server_kill, on the same data */
void server_kill(server_t *s, int sig);                   /* and waits for its end */
void server_stop(server_t *s);                            /* SIGKILL, and the directory is removed */
/* A command by hand; the reply is the caller's. */
redisReply *server_ask(server_t *s, const char *format, ...);
long long server_num(server_t *s, const char *format, ...);
/* Number of keys but for those of the broker itself. */
size_t server_keys(server_t *s);

/* ---- a store --------------------------------------------------------------------------------------------------------- */

typedef struct world {
    pst_loop_t *loop;
    pst_store_t *store;
    pst_ns_t until;        /* the loop stops then */
    bool late;             /* it did */
    uint64_t token;
    /* the latest answer */
    bool answered;
    pst_store_answer_t answer;
    char headers[64], bodies[64]; /* beginnings of what LOAD gave */
    size_t headers_n, bodies_n;
    /* events */
    unsigned answers, downs, ups, rooms, fatals;
    char fatal[256];
    uint64_t used, max;
    bool stop_on_answer;
    void (*on_answer)(struct world *w, const pst_store_answer_t *a); /* also told, NULL: nobody */
    void *user;
} world_t;

pst_err_t world_try(world_t *w, const char *url, pst_durability_t durability, pst_errbuf_t *eb);
void world_open(world_t *w, const server_t *s, pst_durability_t durability);
void world_close(world_t *w);
/* Runs the loop for so long, or until something stops it. */
void world_run(world_t *w, pst_ns_t t);
/* Submits, and runs until the answer. */
pst_err_t world_do(world_t *w, pst_store_op_t op);

/* ---- operations ------------------------------------------------------------------------------------------------------- */

pst_id_t id_of(uint32_t n); /* made at millisecond 1000000 + n */
pst_store_op_t op_open(pst_id_t batch, const char *key, pst_batch_info_t *info);
/* Pack `pack` of `jobs` jobs with indexes from pack * jobs; the blobs are made once and live to the end. */
pst_store_op_t op_put(pst_id_t batch, uint32_t segment, uint32_t pack, uint32_t jobs, size_t bodies_bytes);
pst_store_op_t op_commit(pst_id_t batch, uint32_t packs, uint32_t jobs, uint32_t segments);

/* Result pack n of a segment: the jobs of one pack from slot `from` on. */
typedef struct append {
    pst_result_pack_t pack;
    pst_result_t results[256];
    pst_slot_ref_t ended[256];
    pst_result_blob_t blob;
    pst_blob_t *ref;
    pst_seg_stats_t stats;
    pst_seg_endpoint_t endpoint;
    pst_cause_count_t cause;
    pst_endpoint_name_t name;
    uint32_t spent;
} append_t;
pst_store_op_t op_append(append_t *a, pst_id_t batch, uint32_t segment, uint32_t n, uint32_t pack, uint32_t from,
                         uint32_t jobs, size_t body_bytes);
void append_release(append_t *a);

#endif
