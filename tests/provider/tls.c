#include "tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

struct sim_tls_config {
    SSL_CTX *ctx;
    bool http2;
};

struct sim_tls {
    SSL *ssl;
    bool more;
};

static void explain(pst_errbuf_t *eb, const char *what)
{
    char why[256];
    ERR_error_string_n(ERR_peek_last_error(), why, sizeof why);
    (void)pst_errf(eb, PST_E_CONFIG, "%s: %s", what, why);
    ERR_clear_error();
}

/* Ours in the order of our liking; a client that offers neither is refused, as RFC 7301 has it. */
static int on_alpn(SSL *ssl, const unsigned char **ret, unsigned char *ret_n,
                   const unsigned char *offer, unsigned offer_n, void *arg)
{
    (void)ssl;
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    const sim_tls_config_t *c = arg;
    const unsigned char *ours = c->http2 ? both : both + 3;
    unsigned ours_n = (unsigned)(both + sizeof both - 1 - ours);
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_n, ours, ours_n, offer, offer_n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

sim_tls_config_t *sim_tls_config_new(const char *cert, const char *key, bool http2,
                                     pst_errbuf_t *eb)
{
    sim_tls_config_t *c = pst_calloc(1, sizeof *c);
    c->http2 = http2;
    c->ctx = SSL_CTX_new(TLS_server_method());
    PST_ASSERT(c->ctx);
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_RENEGOTIATION);
    /* A write that was cut short goes on from another address: the bytes move to conn_t.out. */
    SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* Else every record costs two system calls: its header, then the rest. */
    SSL_CTX_set_read_ahead(c->ctx, 1);
    /* Sessions live in the tickets that clients keep: nothing here to lock or to run full. */
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(c->ctx, on_alpn, c);
    if (SSL_CTX_use_certificate_chain_file(c->ctx, cert) != 1)
        explain(eb, cert);
    else if (SSL_CTX_use_PrivateKey_file(c->ctx, key, SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(c->ctx) != 1)
        explain(eb, key);
    else
        return c;
    sim_tls_config_destroy(&c);
    return NULL;
}

void sim_tls_config_destroy(sim_tls_config_t **c)
{
    if (!*c)
        return;
    SSL_CTX_free((*c)->ctx);
    free(*c);
    *c = NULL;
}

sim_tls_t *sim_tls_new(sim_tls_config_t *c, int fd)
{
    sim_tls_t *t = pst_calloc(1, sizeof *t);
    t->ssl = SSL_new(c->ctx);
    PST_ASSERT(t->ssl && SSL_set_fd(t->ssl, fd) == 1);
    SSL_set_accept_state(t->ssl);
    return t;
}

void sim_tls_destroy(sim_tls_t **t)
{
    if (!*t)
        return;
    SSL_free((*t)->ssl);
    free(*t);
    *t = NULL;
}

int sim_tls_handshake(sim_tls_t *t, bool *ret_write)
{
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1)
        return 1;
    int why = SSL_get_error(t->ssl, r);
    *ret_write = why == SSL_ERROR_WANT_WRITE;
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

bool sim_tls_http2(const sim_tls_t *t)
{
    const unsigned char *name;
    unsigned n;
    SSL_get0_alpn_selected(t->ssl, &name, &n);
    return n == 2 && memcmp(name, "h2", 2) == 0;
}

bool sim_tls_resumed(const sim_tls_t *t)
{
    return SSL_session_reused(t->ssl);
}

/* What recv or send would have said. */
static ssize_t as_errno(const sim_tls_t *t, int r)
{
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        errno = ECONNRESET;
        return -1;
    }
}

ssize_t sim_tls_read(sim_tls_t *t, char *p, size_t n)
{
    ERR_clear_error();
    size_t have = 0;
    t->more = true;
    while (t->more && have < n) {
        int r = SSL_read(t->ssl, p + have, (int)PST_MIN(n - have, (size_t)INT32_MAX));
        if (r <= 0) { /* an end or an error shows again at the next read */
            t->more = false;
            return have ? (ssize_t)have : as_errno(t, r);
        }
        have += (size_t)r;
        t->more = SSL_has_pending(t->ssl);
    }
    return (ssize_t)have;
}

ssize_t sim_tls_write(sim_tls_t *t, const char *p, size_t n)
{
    ERR_clear_error();
    int r = SSL_write(t->ssl, p, (int)PST_MIN(n, (size_t)INT32_MAX));
    return r > 0 ? r : as_errno(t, r);
}

bool sim_tls_more(const sim_tls_t *t)
{
    return t->more;
}

void sim_tls_bye(sim_tls_t *t)
{
    ERR_clear_error();
    SSL_shutdown(t->ssl); /* a full socket drops it: the client then sees a cut, which is no lie */
    ERR_clear_error();
}
