/* anthropic_inside.h - what the files of Anthropic's dialect share. */
#ifndef PST_GATEWAY_ANTHROPIC_INSIDE_H
#define PST_GATEWAY_ANTHROPIC_INSIDE_H

#include "gateway/anthropic.h"
#include "gateway/splice.h"

typedef enum pst_anthropic_use {
    PST_ANTHROPIC_CALL,  /* of a message now, maybe a stream */
    PST_ANTHROPIC_BATCH, /* in a batch */
    PST_ANTHROPIC_COUNT, /* only its tokens are asked for */
} pst_anthropic_use_t;

/* The request at `obj` of x->json as a chat completion's body.  place: where it lies, for messages of what is wrong. */
PST_MUSTCHECK pst_err_t pst_anthropic_put_request(pst_anthropic_t *x, uint32_t obj, pst_anthropic_use_t use,
                                                  const char *place, pst_buf_t *out, pst_errbuf_t *why);

/* Who calls a tool: the model, never a program that Anthropic runs. */
#define PST_ANTHROPIC_CALLER "{\"type\":\"direct\"}"

/* The chat completion at `t` of x->json as a Message.  PST_E_MALFORMED: it is none. */
PST_MUSTCHECK pst_err_t pst_anthropic_put_message(pst_anthropic_t *x, uint32_t t, pst_view_t fallback_id,
                                                  pst_buf_t *out);
/* The message of the error at `t` of x->json, whoever's shape it has; empty: it has none. */
pst_view_t pst_anthropic_message_of(pst_anthropic_t *x, uint32_t t);
/* "msg_…" from OpenAI's id at `id` of j, or else from fallback. */
void pst_anthropic_put_id(pst_buf_t *b, const pst_json_t *j, uint32_t id, pst_view_t fallback);
/* ,"model":<that of the object t, "" if it names none> */
void pst_anthropic_put_model(pst_buf_t *b, const pst_json_t *j, uint32_t t);
/* Why it ended, from the choice at `choice` of j; NULL: that does not say. */
const char *pst_anthropic_stop_reason(const pst_json_t *j, uint32_t choice);
pst_anthropic_usage_t pst_anthropic_usage_of(const pst_json_t *j, uint32_t usage);
/* ,"usage":{…} */
void pst_anthropic_put_usage(pst_buf_t *b, const pst_anthropic_usage_t *u);

#endif
