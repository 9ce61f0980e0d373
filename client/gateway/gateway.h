/* gateway.h - the HTTP gateway: OpenAI's, OpenRouter's and Anthropic's APIs and a page, before a broker and a Redis.
 *
 *   web.c ──► files.c batches.c outputs.c live.c models.c ui.c …     handlers, one file for each kind of object
 *                               │ commands          │ questions, calls
 *                               ▼                   ▼
 *                             db.c (Redis)      remote.c (broker)        one thread, nothing blocks
 *                               ▲
 *                             import.c: threads that turn an uploaded file into a batch, with libpenstock
 *
 * Stateless: files, what batches were made of, keys and deliveries lie in Redis, batches and their results with the broker, so
 * that any number of gateways may run beside each other and any may die.  What is under way in one that dies (an upload, a call)
 * its client sends again; a file that was being turned into a batch is taken over by another, or by the next. */
#ifndef PST_GATEWAY_H
#define PST_GATEWAY_H

#include "gateway/db.h"
#include "gateway/remote.h"
#include "gateway/web.h"
#include "proc/config.h"

typedef struct pst_gateway pst_gateway_t;

typedef struct pst_gateway_opts {
    const pst_config_t *config; /* outlives the gateway */
    const char *broker;         /* address */
    const char *redis;          /* url */
    const char *listen;         /* HOST:PORT */
} pst_gateway_opts_t;

/* PST_E_CONFIG, PST_E_INVALID, PST_E_IO with words in eb. */
PST_MUSTCHECK pst_err_t pst_gateway_new(pst_loop_t *loop, const pst_gateway_opts_t *o, pst_gateway_t **ret, pst_errbuf_t *eb);
/* Takes no new requests; those under way end.  true once none is left. */
bool pst_gateway_drain(pst_gateway_t *g);
/* Another configuration, from now on: its models and keys.  Outlives the gateway, or the next. */
void pst_gateway_config(pst_gateway_t *g, const pst_config_t *config);
void pst_gateway_destroy(pst_gateway_t **g);
unsigned pst_gateway_port(const pst_gateway_t *g);

#endif
