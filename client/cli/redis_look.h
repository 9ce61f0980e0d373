/* redis_look.h - a look at the Redis that the configuration names: what it is, and how safe "accepted" can be there.
 * Synchronous, for `penstock check` alone. */
#ifndef PST_REDIS_LOOK_H
#define PST_REDIS_LOOK_H

#include "base/base.h"
#include "proc/config.h"

typedef struct pst_redis_look {
    char version[32];
    unsigned major;
    uint64_t maxmemory;       /* bytes; 0: no limit */
    char policy[32];          /* of eviction; "" : it does not say */
    bool durability_known;    /* CONFIG may be forbidden */
    pst_durability_t durability; /* the best it can give as it is set up now */
} pst_redis_look_t;

/* PST_E_CONFIG: no such url.  PST_E_STORE_DOWN: no connection, or it refuses.  Words in eb. */
PST_MUSTCHECK pst_err_t pst_redis_look(const char *url, pst_redis_look_t *ret, pst_errbuf_t *eb);
const char *pst_durability_text(pst_durability_t d);

#endif
