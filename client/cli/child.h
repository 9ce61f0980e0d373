/* child.h - the processes that `penstock up` keeps running.  Each has a process group of its own, so that a Ctrl-C at
 * the terminal reaches `up` alone, which stops them in order; each is asked to end (SIGTERM) by the kernel if `up`
 * dies. Their output goes to stderr: stdout is for the one line that says that all are ready. */
#ifndef PST_CHILD_H
#define PST_CHILD_H

#include <sys/types.h>

#include "base/base.h"

#define PST_CHILD_ARGS_MAX 64

typedef struct pst_child {
    char name[300];
    char *argv[PST_CHILD_ARGS_MAX + 1]; /* owned */
    int argc;
    int fd;              /* handed down, -1: none.  Borrowed */
    int niceness;        /* added to ours: it lets others go first */
    pid_t pid;           /* 0: not running */
    pst_ns_t started;
    pst_ns_t backoff;    /* pause before the next start after it died */
    pst_ns_t start_at;   /* PST_NEVER: not waiting for a start */
    bool wanted;         /* is to run: start it again when it dies */
    int status;          /* of wait(), of its last end */
} pst_child_t;

void pst_child_init(pst_child_t *c, const char *name, const char *program);
void pst_child_arg(pst_child_t *c, const char *fmt, ...) PST_PRINTF(2, 3);
void pst_child_release(pst_child_t *c);
/* Starts it now, and from now on whenever it dies. */
void pst_child_start(pst_child_t *c, pst_ns_t now);
/* It has ended, as wait() says: plans the next start if it is wanted. */
void pst_child_ended(pst_child_t *c, int status, pst_ns_t now);
/* Asks it to end and not to come back. */
void pst_child_stop(pst_child_t *c, int sig);
/* "exit code 1", "signal 9" */
const char *pst_child_how(const pst_child_t *c, char *to, size_t room);

/* The path of a program: beside this one, else in PATH.  False: nowhere. */
bool pst_program_find(const char *name, bool beside, char *to, size_t room);

#endif
