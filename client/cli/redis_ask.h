/* redis_ask.h - asks the cluster's Redis something and waits for the answer. */
#ifndef PST_REDIS_ASK_H
#define PST_REDIS_ASK_H

#include "cli/cli.h"
#include "redis/dial.h"

/* The Redis of --redis, the configuration, else that of a `penstock up` on --data DIR.  EXIT_WELL, or says why not. */
int pst_redis_dial_cluster(const pst_cli_args_t *a, redisContext **ret);
/* The reply, or NULL with the words in eb, also if it is an error. */
redisReply *pst_redis_ask(redisContext *c, pst_errbuf_t *eb, int argc, const char **argv);

#endif
