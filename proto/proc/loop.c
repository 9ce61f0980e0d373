#include "proc/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "proc/clock.h"

#define HOOKS_MAX 16
#define EVENTS_PER_TURN 256

/* What is known of one descriptor.  `birth` tells an event of a descriptor that was removed (and its number
 * perhaps given to another) within the same turn from one of the present owner. */
typedef struct watch {
    pst_loop_fd_fn *fn; /* NULL: not watched */
    void *arg;
    uint32_t birth;
} watch_t;

typedef struct hook {
    pst_loop_prepare_fn *fn;
    void *arg;
} hook_t;

struct pst_loop {
    int epoll;
    int signals; /* signalfd, -1: none */
    void (*signal_fn)(void *arg, int sig);
    void *signal_arg;
    pst_ns_t now;
    watch_t *watch; /* by descriptor */
    size_t watch_n;
    uint32_t births;
    hook_t hook[HOOKS_MAX];
    unsigned hooks;
    bool stop;
    bool coarse; /* the kernel has no epoll_pwait2: milliseconds only */
};

pst_loop_t *pst_loop_new(void)
{
    pst_loop_t *l = pst_calloc(1, sizeof *l);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    PST_ASSERT(l->epoll >= 0);
    l->signals = -1;
    l->now = pst_clock_mono();
    return l;
}

void pst_loop_destroy(pst_loop_t **l)
{
    if (!l || !*l)
        return;
    if ((*l)->signals >= 0)
        close((*l)->signals);
    close((*l)->epoll);
    free((*l)->watch);
    free(*l);
    *l = NULL;
}

static watch_t *watch_at(pst_loop_t *l, int fd)
{
    PST_ASSERT(fd >= 0);
    size_t need = (size_t)fd + 1;
    if (need > l->watch_n) {
        size_t n = PST_MAX(PST_MAX(l->watch_n * 2, need), (size_t)64);
        l->watch = pst_realloc(l->watch, n * sizeof *l->watch);
        memset(l->watch + l->watch_n, 0, (n - l->watch_n) * sizeof *l->watch);
        l->watch_n = n;
    }
    return &l->watch[fd];
}

void pst_loop_fd(pst_loop_t *l, int fd, uint32_t events, pst_loop_fd_fn *fn, void *arg)
{
    PST_ASSERT(fn);
    watch_t *w = watch_at(l, fd);
    bool known = w->fn != NULL;
    if (!known)
        w->birth = ++l->births;
    w->fn = fn;
    w->arg = arg;
    struct epoll_event e = {.events = events, .data.u64 = (uint64_t)w->birth << 32 | (uint32_t)fd};
    int rc = epoll_ctl(l->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e);
    /* A descriptor that its library closed and opened again under the same number is new to the kernel. */
    if (rc < 0 && known && errno == ENOENT)
        rc = epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e);
    PST_ASSERT(rc == 0);
}

void pst_loop_fd_remove(pst_loop_t *l, int fd)
{
    if (fd < 0 || (size_t)fd >= l->watch_n || !l->watch[fd].fn)
        return;
    l->watch[fd] = (watch_t){0};
    /* Fails harmlessly where the descriptor was closed before: closing took it out. */
    (void)epoll_ctl(l->epoll, EPOLL_CTL_DEL, fd, NULL);
}

void pst_loop_prepare(pst_loop_t *l, pst_loop_prepare_fn *fn, void *arg)
{
    PST_ASSERT(l->hooks < HOOKS_MAX);
    l->hook[l->hooks++] = (hook_t){fn, arg};
}

static void read_signals(void *arg, int fd, uint32_t events)
{
    (void)events;
    pst_loop_t *l = arg;
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info)
        l->signal_fn(l->signal_arg, (int)info.ssi_signo);
}

void pst_loop_signals(pst_loop_t *l, const int *sigs, void (*fn)(void *arg, int sig), void *arg)
{
    PST_ASSERT(l->signals < 0);
    sigset_t set;
    sigemptyset(&set);
    for (; *sigs; sigs++)
        sigaddset(&set, *sigs);
    PST_ASSERT(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
    l->signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    PST_ASSERT(l->signals >= 0);
    l->signal_fn = fn;
    l->signal_arg = arg;
    pst_loop_fd(l, l->signals, EPOLLIN, read_signals, l);
}

pst_ns_t pst_loop_now(const pst_loop_t *l)
{
    return l->now;
}

static pst_ns_t run_hooks(pst_loop_t *l)
{
    pst_ns_t next = PST_NEVER;
    for (unsigned i = 0; i < l->hooks; i++)
        next = pst_ns_min(next, l->hook[i].fn(l->hook[i].arg, l->now));
    return next;
}

/* Sleeps until `until` or an event.  The hooks took time, so the clock is asked again for the length of the
 * sleep; a coarse sleep is rounded up, or the loop would spin through the last millisecond. */
static int sleep_until(pst_loop_t *l, pst_ns_t until, struct epoll_event *ev)
{
    pst_ns_t wait = until == PST_NEVER ? PST_NEVER : pst_ns_since(until, pst_clock_mono());
    if (!l->coarse) {
        struct timespec t = {.tv_sec = (time_t)(wait / PST_SEC), .tv_nsec = (long)(wait % PST_SEC)};
        int n = epoll_pwait2(l->epoll, ev, EVENTS_PER_TURN, wait == PST_NEVER ? NULL : &t, NULL);
        if (n >= 0 || errno != ENOSYS)
            return n;
        l->coarse = true;
    }
    pst_ns_t ms = pst_ns_add(wait, PST_MS - 1) / PST_MS;
    int timeout = wait == PST_NEVER ? -1 : (int)PST_MIN(ms, (pst_ns_t)INT32_MAX);
    return epoll_wait(l->epoll, ev, EVENTS_PER_TURN, timeout);
}

static void dispatch(pst_loop_t *l, const struct epoll_event *e)
{
    int fd = (int)(uint32_t)e->data.u64;
    const watch_t *w = &l->watch[fd];
    if (w->fn && w->birth == (uint32_t)(e->data.u64 >> 32))
        w->fn(w->arg, fd, e->events);
}

void pst_loop_run(pst_loop_t *l)
{
    struct epoll_event ev[EVENTS_PER_TURN];
    l->now = pst_clock_mono();
    while (!l->stop) {
        pst_ns_t until = run_hooks(l);
        if (l->stop)
            break;
        int n = sleep_until(l, until, ev);
        PST_ASSERT(n >= 0 || errno == EINTR);
        l->now = pst_clock_mono();
        /* All of them even after a stop: an edge that is not handled now never comes again. */
        for (int i = 0; i < n; i++)
            dispatch(l, &ev[i]);
    }
    l->stop = false;
}

void pst_loop_stop(pst_loop_t *l)
{
    l->stop = true;
}
