/* private_redis.h - the Redis that `penstock up` runs by itself: on a unix socket, its append-only file in the data
 * directory, with the settings that a queue needs.
 *
 * The data directory has two locks.  up.lock is held by `up`, so that there is one.  redis.lock is inherited by the
 * server and so held until that has ended, also when it outlives a killed `up`: two servers never write one file. */
#ifndef PST_PRIVATE_REDIS_H
#define PST_PRIVATE_REDIS_H

#include "cli/child.h"
#include "cli/cli.h"

typedef struct pst_private_redis {
    char dir[4096];          /* data directory, absolute */
    char socket_dir[160];    /* made for the socket because dir, where a link to it is, is too long; empty: none */
    char socket[4200];
    int up_lock, redis_lock; /* descriptors */
} pst_private_redis_t;

/* Makes and locks the data directory (NULL: ~/.local/share/penstock).  Waits for a server left by a killed `up`.
 * EXIT_WELL, or says why not. */
int pst_private_redis_open(pst_private_redis_t *r, const char *dir);
/* The server as a child to start.  EXIT_WELL, or says that there is none. */
int pst_private_redis_child(const pst_private_redis_t *r, const pst_config_t *config, pst_child_t *ret);
/* It answers a PING, and has its data in memory. */
bool pst_private_redis_ready(const pst_private_redis_t *r);
/* Where the server of an `up` on that directory (NULL: the usual one) listens, as unix://PATH; whether one runs is not
 * looked at.  EXIT_WELL, or says that there is no such place. */
int pst_private_redis_find(const char *dir, char *to, size_t room);
void pst_private_redis_close(pst_private_redis_t *r);

#endif
