#include "lib/frame.h"

#include <errno.h>
#include <stdatomic.h>
#include <zmq.h>

struct pst_frame {
    atomic_uint refs;
    size_t n;
    char *p;
};

pst_frame_t *pst_frame_take(pst_buf_t *b)
{
    pst_frame_t *f = malloc(sizeof *f);
    if (!f)
        return NULL;
    atomic_init(&f->refs, 1);
    f->p = pst_buf_detach(b, &f->n);
    if (!f->p) {
        free(f);
        return NULL;
    }
    return f;
}

pst_view_t pst_frame_view(const pst_frame_t *f)
{
    return pst_view(f->p, f->n);
}

static void drop(pst_frame_t *f)
{
    if (atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) != 1)
        return;
    free(f->p);
    free(f);
}

void pst_frame_unref(pst_frame_t **f)
{
    if (*f)
        drop(*f);
    *f = NULL;
}

static void drop_share(void *data, void *hint)
{
    (void)data;
    drop(hint);
}

pst_err_t pst_frame_send(pst_frame_t *f, void *socket)
{
    zmq_msg_t msg;
    if (zmq_msg_init_data(&msg, f->p, f->n, drop_share, f) < 0)
        return PST_E_NOMEM;
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    if (zmq_msg_send(&msg, socket, ZMQ_DONTWAIT) >= 0)
        return PST_OK;
    pst_err_t e = errno == EAGAIN || errno == EINTR ? PST_E_FULL : PST_E_IO;
    zmq_msg_close(&msg); /* gives the share back */
    return e;
}
