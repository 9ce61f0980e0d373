#include "http/wire.h"

#include <curl/curl.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* The most that a record of TLS can hold. */
#define RECORD_BYTES_MAX ((size_t)16 << 10)

void pst_wire_plain(pst_wire_t *ret, int fd)
{
    *ret = (pst_wire_t){.fd = fd};
}

void pst_wire_tls(pst_wire_t *ret, int fd, void *tls, pst_wire_close_fn *closer, void *arg)
{
    *ret = (pst_wire_t){.fd = fd, .tls = tls, .closer = closer, .arg = arg};
}

/* The provider's key is in it. */
static void forget_record(pst_wire_t *w)
{
    if (w->held)
        explicit_bzero(w->held, w->held_n);
    free(pst_take(&w->held));
}

void pst_wire_close(pst_wire_t *w)
{
    forget_record(w);
    if (w->tls)
        w->closer(w->arg);
    else
        close(w->fd);
    w->fd = -1;
}

static ssize_t failed(CURLcode code)
{
    errno = code == CURLE_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
}

/* The next record: what of v lies behind the bytes sent.  A request that fits into one goes out as one. */
static void gather(pst_wire_t *w, const struct iovec *v, int n, size_t sent)
{
    size_t rest = 0;
    for (int i = 0; i < n; i++)
        rest += v[i].iov_len;
    w->held = pst_alloc(PST_MIN(rest - sent, RECORD_BYTES_MAX));
    w->held_n = 0;
    for (int i = 0; i < n && w->held_n < RECORD_BYTES_MAX; i++) {
        size_t skip = PST_MIN(sent, v[i].iov_len), part = PST_MIN(v[i].iov_len - skip, RECORD_BYTES_MAX - w->held_n);
        memcpy(w->held + w->held_n, (const char *)v[i].iov_base + skip, part);
        w->held_n += part;
        sent -= skip;
    }
}

static ssize_t send_records(pst_wire_t *w, const struct iovec *v, int n)
{
    size_t all = 0, sent = 0;
    for (int i = 0; i < n; i++)
        all += v[i].iov_len;
    while (sent < all) {
        size_t part = 0;
        if (!w->held)
            gather(w, v, n, sent);
        CURLcode code = curl_easy_send(w->tls, w->held, w->held_n, &part);
        if (code)
            return sent ? (ssize_t)sent : failed(code);
        sent += part;
        forget_record(w);
    }
    return (ssize_t)sent;
}

ssize_t pst_wire_send(pst_wire_t *w, const struct iovec *v, int n)
{
    if (w->tls)
        return send_records(w, v, n);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n};
    return sendmsg(w->fd, &m, MSG_NOSIGNAL);
}

static ssize_t recv_decrypted(pst_wire_t *w, void *p, size_t n)
{
    size_t got = 0;
    CURLcode code = curl_easy_recv(w->tls, p, n, &got);
    return code ? failed(code) : (ssize_t)got;
}

ssize_t pst_wire_recv(pst_wire_t *w, void *p, size_t n)
{
    return w->tls ? recv_decrypted(w, p, n) : recv(w->fd, p, n, 0);
}

bool pst_wire_quiet(pst_wire_t *w)
{
    char c;
    /* What TLS says for itself, a ticket or a new key, it does not hand on. */
    ssize_t got = w->tls ? recv_decrypted(w, &c, 1) : recv(w->fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && errno == EAGAIN;
}
