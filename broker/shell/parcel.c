#include "parcel.h"

#include <errno.h>
#include <stdatomic.h>
#include <zmq.h>

struct pst_account {
    atomic_size_t bytes;
    atomic_uint refs; /* the owner's and one a frame */
};

/* One frame: libzmq's hint while it has the bytes. */
typedef struct load {
    pst_account_t *account;
    size_t n;
} load_t;

struct pst_parcel {
    pst_link_t link;
    zmq_msg_t msg;
};

pst_account_t *pst_account_new(void)
{
    pst_account_t *a = pst_alloc(sizeof *a);
    atomic_init(&a->bytes, 0);
    atomic_init(&a->refs, 1);
    return a;
}

static void unref(pst_account_t *a)
{
    if (atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        free(a);
}

void pst_account_close(pst_account_t **a)
{
    if (*a)
        unref(*a);
    *a = NULL;
}

size_t pst_account_bytes(const pst_account_t *a)
{
    return atomic_load_explicit(&a->bytes, memory_order_relaxed);
}

static void unload(void *data, void *hint)
{
    load_t *l = hint;
    atomic_fetch_sub_explicit(&l->account->bytes, l->n, memory_order_relaxed);
    unref(l->account);
    free(data);
    free(l);
}

pst_parcel_t *pst_parcel_new(pst_account_t *a, pst_buf_t *frame)
{
    pst_parcel_t *p = pst_alloc(sizeof *p);
    load_t *l = pst_alloc(sizeof *l);
    pst_link_init(&p->link);
    char *bytes = pst_buf_detach(frame, &l->n);
    PST_ASSERT(bytes);
    l->account = a;
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&a->bytes, l->n, memory_order_relaxed);
    PST_ASSERT(zmq_msg_init_data(&p->msg, bytes, l->n, unload, l) == 0);
    return p;
}

void pst_parcel_destroy(pst_parcel_t **pp)
{
    pst_parcel_t *p = pst_take(pp);
    if (!p)
        return;
    pst_link_remove(&p->link);
    zmq_msg_close(&p->msg);
    free(p);
}

int pst_parcel_send(pst_parcel_t **pp, void *router, const void *id, size_t id_n)
{
    /* With ROUTER_MANDATORY the id frame is what is refused; the second frame then always finds its place. */
    if (zmq_send(router, id, id_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
        return errno == EINTR ? EAGAIN : errno;
    PST_ASSERT(zmq_msg_send(&(*pp)->msg, router, ZMQ_DONTWAIT) >= 0);
    pst_parcel_destroy(pp); /* libzmq has the bytes: the message left here is empty */
    return 0;
}

void pst_parcel_queue(pst_link_t *queue, pst_parcel_t *p)
{
    pst_link_before(queue, &p->link);
}

pst_parcel_t *pst_parcel_first(const pst_link_t *queue)
{
    return pst_link_empty(queue) ? NULL : PST_CONTAINER(queue->next, pst_parcel_t, link);
}
