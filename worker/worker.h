/* worker.h - one worker process put together: pools of calls behind a session with the broker. */
#ifndef PST_WORKER_H
#define PST_WORKER_H

#include "pool.h"

typedef struct pst_worker pst_worker_t;

typedef struct pst_worker_args {
    const char *config_path;  /* NULL: found as pst_config_load says */
    const char *broker;       /* NULL: the configuration's */
    pst_pool_choice_t choice;
    pst_ns_t drain_timeout;
} pst_worker_args_t;

/* args: borrowed as long as the worker.  CONFIG, INVALID with eb filled; what is wrong with a configuration
 * file goes to stderr line by line. */
PST_MUSTCHECK pst_err_t pst_worker_new(const pst_worker_args_t *args, pst_worker_t **ret, pst_errbuf_t *eb);
/* Works until SIGTERM or SIGINT and the end of the drain.  false: outcomes were left that the broker has not
 * acknowledged. */
bool pst_worker_run(pst_worker_t *w);
void pst_worker_destroy(pst_worker_t **w);

#endif
