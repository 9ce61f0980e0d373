#include "gateway/import.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/import_one.h"
#include "proc/clock.h"
#include "proc/log.h"

#define THREADS 2u
#define RUNNING_MAX 8u          /* taken and not done: more than the threads, so that none waits for the loop */
#define LEASE_MS 15000u
#define RENEW_EVERY (5 * PST_SEC)
#define LOOK_EVERY PST_SEC
#define CANDIDATES 64u          /* looked at a time: those of other gateways stand among them */
#define STACK_BYTES (1u << 20)

struct pst_importer {
    pst_loop_t *loop;
    pst_db_t *db;
    pst_importer_opts_t opts;
    char name[33];              /* of this gateway, in leases */
    int work[2], done[2];       /* [0] the threads' ends, [1] the loop's */
    pthread_t thread[THREADS];
    unsigned threads;
    atomic_bool stopping;
    char running[RUNNING_MAX][PST_BATCH_TEXT_LEN + 1]; /* empty: free */
    pst_ns_t renew_at, look_at;
    bool looking;
};

/* Threads. */

static void *run_thread(void *arg)
{
    pst_importer_t *im = arg;
    pst_import_one_t *one = NULL;
    char id[PST_BATCH_TEXT_LEN + 1];
    while (recv(im->work[0], id, sizeof id, 0) == (ssize_t)sizeof id) {
        if (!one)
            one = pst_import_one_new(&im->opts, &im->stopping);
        if (one)
            pst_import_one_run(one, id);
        (void)!send(im->done[0], id, sizeof id, MSG_NOSIGNAL);
    }
    pst_import_one_destroy(&one);
    return NULL;
}

/* Signals are the loop's. */
static bool start_threads(pst_importer_t *im)
{
    sigset_t all, before;
    pthread_attr_t attr;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    while (im->threads < THREADS && pthread_create(&im->thread[im->threads], &attr, run_thread, im) == 0)
        im->threads++;
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return im->threads > 0;
}

/* The loop's side. */

static char *find_running(pst_importer_t *im, const char *id)
{
    for (unsigned i = 0; i < RUNNING_MAX; i++) {
        if (strcmp(im->running[i], id) == 0)
            return im->running[i];
    }
    return NULL;
}

typedef struct claim {
    pst_importer_t *im;
    char id[PST_BATCH_TEXT_LEN + 1];
} claim_t;

static void drop_lease(pst_importer_t *im, const char *id)
{
    pst_redis_key_t k;
    pst_db_key(&k, "lease", id);
    pst_cmd_t *c = pst_db_cmd("DEL", NULL, NULL);
    pst_cmd_key(c, &k);
    pst_db_send(im->db, c);
}

static void on_claimed(pst_cmd_t *c, const redisReply *r)
{
    claim_t *cl = c->arg;
    pst_importer_t *im = cl->im;
    if (r && r->type == REDIS_REPLY_STATUS) {
        char *slot = find_running(im, "");
        if (slot && send(im->work[1], cl->id, sizeof cl->id, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof cl->id)
            memcpy(slot, cl->id, sizeof cl->id);
        else
            drop_lease(im, cl->id);
    }
    free(cl);
}

static void try_claim(pst_importer_t *im, const char *id)
{
    claim_t *cl = calloc(1, sizeof *cl);
    if (!cl)
        return;
    cl->im = im;
    snprintf(cl->id, sizeof cl->id, "%s", id);
    pst_db_send(im->db, pst_db_lease(id, im->name, LEASE_MS, true, on_claimed, cl));
}

static void on_candidates(pst_cmd_t *c, const redisReply *r)
{
    pst_importer_t *im = c->arg;
    im->looking = false;
    if (!r || r->type != REDIS_REPLY_ARRAY)
        return;
    unsigned free_n = 0;
    for (unsigned i = 0; i < RUNNING_MAX; i++)
        free_n += !*im->running[i];
    for (size_t i = 0; i < r->elements && free_n > 0; i++) {
        const redisReply *e = r->element[i];
        if (e->type != REDIS_REPLY_STRING || e->len != PST_BATCH_TEXT_LEN || find_running(im, e->str))
            continue;
        try_claim(im, e->str);
        free_n--;
    }
}

static void look(pst_importer_t *im)
{
    if (im->looking || !pst_db_is_up(im->db) || !find_running(im, ""))
        return;
    pst_redis_key_t k;
    pst_db_key(&k, "imports", "");
    pst_cmd_t *c = pst_db_cmd("ZRANGE", on_candidates, im);
    pst_cmd_key(c, &k);
    pst_cmd_str(c, "0");
    pst_cmd_num(c, CANDIDATES - 1);
    im->looking = true;
    pst_db_send(im->db, c);
}

void pst_importer_look(pst_importer_t *im)
{
    im->look_at = 0;
}

static void renew(pst_importer_t *im)
{
    for (unsigned i = 0; i < RUNNING_MAX; i++) {
        if (*im->running[i])
            pst_db_send(im->db, pst_db_lease(im->running[i], im->name, LEASE_MS, false, NULL, NULL));
    }
}

static void on_done(void *arg, int fd, uint32_t events)
{
    (void)events;
    pst_importer_t *im = arg;
    char id[PST_BATCH_TEXT_LEN + 1];
    while (recv(fd, id, sizeof id, MSG_DONTWAIT) == (ssize_t)sizeof id) {
        char *slot = find_running(im, id);
        if (slot)
            *slot = '\0';
        drop_lease(im, id);
    }
    pst_importer_look(im);
}

static pst_ns_t prepare(void *arg, pst_ns_t now)
{
    pst_importer_t *im = arg;
    if (now >= im->renew_at) {
        im->renew_at = pst_ns_add(now, RENEW_EVERY);
        renew(im);
    }
    if (now >= im->look_at) {
        im->look_at = pst_ns_add(now, LOOK_EVERY);
        look(im);
    }
    return pst_ns_min(im->renew_at, im->look_at);
}

pst_err_t pst_importer_new(pst_loop_t *loop, pst_db_t *db, const pst_importer_opts_t *o, pst_importer_t **ret,
                           pst_errbuf_t *eb)
{
    pst_importer_t *im = calloc(1, sizeof *im);
    if (!im)
        return pst_errf(eb, PST_E_NOMEM, "out of memory");
    *im = (pst_importer_t){.loop = loop, .db = db, .opts = *o, .work = {-1, -1}, .done = {-1, -1}};
    snprintf(im->name, sizeof im->name, "%016llx", (unsigned long long)pst_random_u64());
    bool ok = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, im->work) == 0 &&
              socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, im->done) == 0 && start_threads(im);
    if (!ok) {
        pst_importer_destroy(&im);
        return pst_errf(eb, PST_E_IO, "no threads to read files with: %s", strerror(errno));
    }
    pst_loop_fd(loop, im->done[1], EPOLLIN, on_done, im);
    pst_loop_prepare(loop, prepare, im);
    *ret = im;
    return PST_OK;
}

static void close_pair(int fd[2])
{
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0)
            close(fd[i]);
    }
}

void pst_importer_destroy(pst_importer_t **pim)
{
    pst_importer_t *im = *pim;
    *pim = NULL;
    if (!im)
        return;
    atomic_store(&im->stopping, true);
    if (im->done[1] >= 0)
        pst_loop_fd_remove(im->loop, im->done[1]);
    if (im->work[1] >= 0)
        shutdown(im->work[1], SHUT_RDWR);
    for (unsigned i = 0; i < im->threads; i++)
        pthread_join(im->thread[i], NULL);
    close_pair(im->work);
    close_pair(im->done);
    free(im);
}
