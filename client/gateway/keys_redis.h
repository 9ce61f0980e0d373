/* keys_redis.h - brings the keys of Redis to the gateway's, and takes to Redis what they used.
 * Looks once a second whether the records have changed.  Borrows the keys and the connection. */
#ifndef PST_GATEWAY_KEYS_REDIS_H
#define PST_GATEWAY_KEYS_REDIS_H

#include "gateway/keys.h"
#include "redis/conn.h"

typedef struct pst_keys_redis pst_keys_redis_t;

pst_keys_redis_t *pst_keys_redis_new(pst_keys_t *keys, pst_redis_t *redis);
/* Once the connection is gone: it must answer nobody any more. */
void pst_keys_redis_destroy(pst_keys_redis_t **r);
/* Sends what is due; when something is due again (a prepare hook of the loop, arg: the pst_keys_redis_t). */
pst_ns_t pst_keys_redis_turn(void *arg, pst_ns_t now);

#endif
