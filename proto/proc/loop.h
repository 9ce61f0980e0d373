/* loop.h - one thread's event loop over epoll: descriptors, one deadline, signals.
 *
 * Each turn: run the prepare hooks (they do all due work and return when they want to run again), sleep until
 * the soonest of those deadlines or a ready descriptor, then run the descriptors' callbacks.  Prepare hooks are
 * where ZeroMQ sockets are drained: ZMQ_FD is edge-triggered, so a hook looks at ZMQ_EVENTS after every turn
 * and returns 0 ("do not sleep") while there is more. */
#ifndef PST_LOOP_H
#define PST_LOOP_H

#include "base/base.h"

typedef struct pst_loop pst_loop_t;
typedef void pst_loop_fd_fn(void *arg, int fd, uint32_t epoll_events);
/* Returns the monotonic time of the next turn wanted; 0: at once; PST_NEVER: only on events. */
typedef pst_ns_t pst_loop_prepare_fn(void *arg, pst_ns_t now);

pst_loop_t *pst_loop_new(void);
void pst_loop_destroy(pst_loop_t **l);
/* Watches fd (or changes its events); one callback per fd.  events: EPOLLIN | EPOLLOUT | EPOLLET. */
void pst_loop_fd(pst_loop_t *l, int fd, uint32_t events, pst_loop_fd_fn *fn, void *arg);
void pst_loop_fd_remove(pst_loop_t *l, int fd); /* safe inside callbacks, also for an fd that is not watched */
void pst_loop_prepare(pst_loop_t *l, pst_loop_prepare_fn *fn, void *arg); /* hooks run in the order added; at most 16 */
/* Blocks the signals in the process and delivers them here, through a signalfd.  sigs ends with 0. */
void pst_loop_signals(pst_loop_t *l, const int *sigs, void (*fn)(void *arg, int sig), void *arg);
pst_ns_t pst_loop_now(const pst_loop_t *l); /* read once a turn */
void pst_loop_run(pst_loop_t *l);           /* until pst_loop_stop */
void pst_loop_stop(pst_loop_t *l);

#endif
