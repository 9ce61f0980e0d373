/* wire.h - the bytes of a connection: as the socket has them, or through curl where TLS lies between.
 *
 * Nothing here waits.  What TLS has taken from the socket and decrypted does not wake epoll: whoever reads goes on
 * until EAGAIN, or until there is nothing more that he wants. */
#ifndef PST_HTTP_WIRE_H
#define PST_HTTP_WIRE_H

#include <sys/types.h>
#include <sys/uio.h>

#include "base/base.h"

typedef void pst_wire_close_fn(void *arg);

/* Open, so that a connection can embed it: to read is fd alone, for epoll. */
typedef struct pst_wire {
    int fd;
    void *tls;                 /* curl's handle; NULL: bytes go as they are */
    pst_wire_close_fn *closer; /* of tls */
    void *arg;
    char *held;                /* a record that the socket would not take: TLS wants to see these bytes again */
    size_t held_n;
} pst_wire_t;

void pst_wire_plain(pst_wire_t *ret, int fd); /* takes the descriptor */
/* tls: a CURL that is connected.  It is the caller's, who hears through closer that it is wanted no longer. */
void pst_wire_tls(pst_wire_t *ret, int fd, void *tls, pst_wire_close_fn *closer, void *arg);
void pst_wire_close(pst_wire_t *w);

static inline bool pst_wire_is_tls(const pst_wire_t *w)
{
    return w->tls != NULL;
}

/* As sendmsg and recv: -1 and EAGAIN, or another errno when the connection is lost.  What was not sent is to be given
 * again, from the first byte not sent on. */
PST_MUSTCHECK ssize_t pst_wire_send(pst_wire_t *w, const struct iovec *v, int n);
PST_MUSTCHECK ssize_t pst_wire_recv(pst_wire_t *w, void *p, size_t n);
/* The other side has neither closed it nor said anything.  A byte that it did say may be lost. */
bool pst_wire_quiet(pst_wire_t *w);

#endif
