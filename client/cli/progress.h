/* progress.h - a batch's progress on stderr while a command waits: a bar redrawn in place on a terminal, a line
 * every few seconds elsewhere.  One at a time. */
#ifndef PST_PROGRESS_H
#define PST_PROGRESS_H

#include "cli/cli.h"

typedef struct pst_progress {
    bool tty;
    pst_ns_t shown;          /* when last; elsewhere than on a terminal the first line waits its turn, too */
    /* the rate: done jobs at the last sample, smoothed */
    pst_ns_t sampled;
    uint64_t done;
    double rate;             /* jobs a second; < 0: not known yet */
} pst_progress_t;

void pst_progress_init(pst_progress_t *p);
/* Shows how the batch stands, if it is time to. */
void pst_progress_show(pst_progress_t *p, const pst_batch_t *b, pst_ns_t now);
/* The last word about an ended batch, and the exit code it means. */
int pst_progress_end(const pst_batch_t *b);
/* Takes a bar off the screen, so that something else can be written. */
void pst_progress_clear(void);

/* Follows the batch until it ends, showing it.  With `each` not NULL, calls it between looks at the batch until it says
 * that it has ended: it should take at most a second a call, and stops the watch by returning an exit code that is not
 * EXIT_WELL.  Returns the exit code. */
typedef int pst_progress_fn(void *arg, bool *ret_ended);
int pst_progress_watch(pst_client_t *c, const pst_id_t *batch, pst_progress_fn *each, void *arg);

#endif
