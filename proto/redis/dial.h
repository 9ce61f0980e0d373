/* dial.h - a connection to Redis that waits for its answers: for threads and commands that have nothing else to do.  Whoever
 * has a loop takes conn.h. */
#ifndef PST_REDIS_DIAL_H
#define PST_REDIS_DIAL_H

#include <hiredis/hiredis.h>

#include "base/base.h"

/* Connected, logged in, at the database of the url; gives up after 5 s.  PST_E_CONFIG: no such url.  PST_E_STORE_DOWN: no
 * connection, or it refuses.  Words in eb. */
PST_MUSTCHECK pst_err_t pst_redis_dial(const char *url, redisContext **ret, pst_errbuf_t *eb);

#endif
