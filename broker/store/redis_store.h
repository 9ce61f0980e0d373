/* redis_store.h - what the files of the Redis store share: the store itself and how an operation is answered. */
#ifndef PST_REDIS_STORE_H
#define PST_REDIS_STORE_H

#include "proc/config.h"
#include "redis/conn.h"
#include "store/recent.h"
#include "store/redis_keys.h"
#include "store/redis_lua.h"
#include "store/store.h"

struct pst_store {
    pst_redis_t *conn;
    pst_redis_url_t url;
    pst_store_events_t ev;
    pst_durability_t durability;
    uint64_t room_bytes_max;
    uint64_t epoch;         /* 0: not taken yet */
    uint32_t pending;       /* operations submitted and not answered */
    pst_link_t sweeps;      /* ENDs and DELETEs under way */
    pst_link_t openings;    /* OPENs under way */
    pst_link_t reads;       /* queries */
    pst_recent_t *recent;   /* result packs */
    pst_buf_t scratch;      /* the one being written */
    /* greeting */
    unsigned step;
    char note[256];         /* what could not be checked */
    pst_err_t refused;      /* this Redis cannot be used, conn's `why` says the reason; only while opening */
    bool opening;           /* inside pst_store_open */
    bool quiet;             /* a blocking call runs: no events */
    bool up;                /* the greeting succeeded at least once since the last fault */
    bool fenced;            /* fatal was said because of a refusal; answers still come */
    bool dead;              /* fatal was said and the connection stopped */
};

/* redis_greet.c: one step of the greeting; the connection's `greet` event. */
void pst_greet(void *arg, const redisReply *r);

/* Says fatal once, and stops the connection. */
void pst_store_fatal(pst_store_t *s, const char *why);

/* The error a reply to a write means: PST_OK, STORE_FULL, NOT_FOUND; after saying fatal FENCED, or STORE_BAD for what only
 * a bug or a foreign hand explains. */
pst_err_t pst_store_reply_err(pst_store_t *s, const redisReply *r);
/* Gives the answer to an operation; a.token 0: only counts it. */
void pst_store_answer(pst_store_t *s, const pst_store_answer_t *a);

static inline pst_view_t pst_reply_view(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS ? pst_view(r->str, (size_t)r->len)
                                                                          : pst_view(NULL, 0);
}
/* i-th element of an array; NULL if it is no array or has fewer. */
static inline const redisReply *pst_reply_at(const redisReply *r, size_t i)
{
    return r->type == REDIS_REPLY_ARRAY && i < (size_t)r->elements ? r->element[i] : NULL;
}
/* A number, also in text; 0 for anything else. */
uint64_t pst_reply_num(const redisReply *r);

/* redis_sweep.c */
void pst_sweep_begin(pst_store_t *s, const pst_store_op_t *op);
/* What a crash interrupted: an ended or half-deleted batch that is still in `active`. */
void pst_sweep_resume(pst_store_t *s, const pst_id_t *batch, pst_store_op_type_t type, uint32_t segments);
void pst_sweeps_free(pst_store_t *s);

/* redis_read.c */
void pst_reads_free(pst_store_t *s);

#endif
