/* anthropic_msgreq.h - a request on its way to OpenAI's shape: what its two files share. */
#ifndef PST_GATEWAY_ANTHROPIC_MSGREQ_H
#define PST_GATEWAY_ANTHROPIC_MSGREQ_H

#include "gateway/anthropic_inside.h"

typedef struct pst_msgreq {
    const pst_json_t *j;
    uint32_t obj;
    pst_buf_t *b;
    pst_errbuf_t *why;
    const char *place;
    bool refused;
    bool claude;              /* only Claude's models are asked for */
    unsigned message, block;  /* where we are, for messages to the client */
} pst_msgreq_t;

/* Remembers the first reason only. */
void pst_msgreq_refuse(pst_msgreq_t *q, const char *fmt, ...) PST_PRINTF(2, 3);
/* ,"messages":[…] from system and messages. */
void pst_anthropic_put_messages(pst_msgreq_t *q);

/* A member of the request that is there and not null. */
static inline uint32_t pst_msgreq_param(const pst_msgreq_t *q, const char *key)
{
    return pst_splice_member(q->j, q->obj, key);
}

/* NONE if t is no array, or has nothing in it. */
static inline uint32_t pst_msgreq_first(const pst_msgreq_t *q, uint32_t t)
{
    return pst_json_is(q->j, t, PST_JSON_ARRAY) ? pst_json_first(q->j, t) : PST_JSON_NONE;
}

static inline bool pst_msgreq_is(const pst_msgreq_t *q, uint32_t t, const char *type)
{
    return pst_splice_is(q->j, pst_json_get(q->j, t, "type"), type);
}

/* A word of the client's, short enough for a message. */
static inline pst_view_t pst_msgreq_shown(const pst_msgreq_t *q, uint32_t t)
{
    pst_view_t v = pst_splice_inside(q->j, t);
    return v.n ? pst_view(v.p, PST_MIN(v.n, 64u)) : PST_VIEW_LIT("");
}

/* What our adapters for Claude read of a block or a tool. */
static inline uint32_t pst_msgreq_mark(const pst_msgreq_t *q, uint32_t t)
{
    return q->claude ? pst_splice_member(q->j, t, "cache_control") : PST_JSON_NONE;
}

#endif
