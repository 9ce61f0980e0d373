#include "lib/squeeze.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define THREADS_MAX 3 /* one reader of lines keeps no more busy */

/* A text; `done` is the thread's, the rest the caller's before the put and after the take. */
typedef struct slot {
    void *of;
    pst_view_t text;
    uint32_t parts;
    pst_buf_t out;
    pst_view_t bytes;
    pst_codec_t codec;
    bool done;
} slot_t;

typedef struct squeezer {
    pst_squeeze_t *of;
    pst_compressor_t *compressor;
    pthread_t thread;
} squeezer_t;

/* A ring: put <= taken + PST_SQUEEZE_TEXTS_MAX, and taken <= begun <= put. */
struct pst_squeeze {
    pthread_mutex_t lock;    /* of everything below but the threads */
    pthread_cond_t has_text, has_done;
    slot_t slot[PST_SQUEEZE_TEXTS_MAX];
    uint64_t put, begun, taken;
    bool stop;
    squeezer_t squeezer[THREADS_MAX];
    unsigned threads;
};

static slot_t *slot_at(pst_squeeze_t *s, uint64_t number)
{
    return &s->slot[number % PST_SQUEEZE_TEXTS_MAX];
}

static void *squeeze(void *arg)
{
    squeezer_t *me = arg;
    pst_squeeze_t *s = me->of;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (!s->stop && s->begun == s->put)
            pthread_cond_wait(&s->has_text, &s->lock);
        if (s->stop)
            break;
        slot_t *x = slot_at(s, s->begun++);
        pthread_mutex_unlock(&s->lock);
        x->bytes = pst_compress(me->compressor, x->text, x->parts, &x->out, &x->codec);
        pthread_mutex_lock(&s->lock);
        x->done = true;
        pthread_cond_signal(&s->has_done);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static bool start(pst_squeeze_t *s)
{
    squeezer_t *q = &s->squeezer[s->threads];
    q->of = s;
    if (!(q->compressor = pst_compressor_new()))
        return false;
    if (pthread_create(&q->thread, NULL, squeeze, q) != 0) {
        pst_compressor_destroy(&q->compressor);
        return false;
    }
    s->threads++;
    return true;
}

/* Signals are the program's business: its own threads get them. */
static void start_all(pst_squeeze_t *s, unsigned threads)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (s->threads < threads && start(s))
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

pst_squeeze_t *pst_squeeze_new(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    pst_squeeze_t *s = cores > 1 ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->has_text, NULL);
    pthread_cond_init(&s->has_done, NULL);
    for (unsigned i = 0; i < PST_SQUEEZE_TEXTS_MAX; i++)
        pst_buf_init(&s->slot[i].out, 0);
    start_all(s, (unsigned)PST_MIN(cores - 1, (long)THREADS_MAX));
    if (s->threads == 0)
        pst_squeeze_destroy(&s);
    return s;
}

void pst_squeeze_destroy(pst_squeeze_t **ps)
{
    pst_squeeze_t *s = *ps;
    *ps = NULL;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->has_text);
    pthread_mutex_unlock(&s->lock);
    for (unsigned i = 0; i < s->threads; i++) {
        pthread_join(s->squeezer[i].thread, NULL);
        pst_compressor_destroy(&s->squeezer[i].compressor);
    }
    for (unsigned i = 0; i < PST_SQUEEZE_TEXTS_MAX; i++)
        pst_buf_release(&s->slot[i].out);
    pthread_cond_destroy(&s->has_done);
    pthread_cond_destroy(&s->has_text);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* Only the caller's thread changes these two. */
bool pst_squeeze_full(const pst_squeeze_t *s)
{
    return s->put - s->taken == PST_SQUEEZE_TEXTS_MAX;
}

void pst_squeeze_put(pst_squeeze_t *s, void *of, pst_view_t text, uint32_t parts)
{
    PST_ASSERT(!pst_squeeze_full(s));
    pthread_mutex_lock(&s->lock);
    slot_t *x = slot_at(s, s->put++);
    x->of = of;
    x->text = text;
    x->parts = parts;
    x->done = false;
    pthread_cond_signal(&s->has_text);
    pthread_mutex_unlock(&s->lock);
}

bool pst_squeeze_take(pst_squeeze_t *s, bool wait, pst_squeezed_t *ret)
{
    if (s->taken == s->put)
        return false;
    pthread_mutex_lock(&s->lock);
    slot_t *x = slot_at(s, s->taken);
    while (wait && !x->done)
        pthread_cond_wait(&s->has_done, &s->lock);
    bool done = x->done;
    if (done) {
        s->taken++;
        *ret = (pst_squeezed_t){x->of, x->bytes, x->codec};
    }
    pthread_mutex_unlock(&s->lock);
    return done;
}
