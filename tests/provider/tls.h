/* tls.h - TLS on one connection, by OpenSSL, behind calls that look like recv and send.
 *
 * Non-blocking: what the socket cannot give or take now ends in -1 and EAGAIN, as without TLS.
 * One difference cannot be hidden: bytes that OpenSSL has read ahead make no socket readable, so
 * whoever reads must ask sim_tls_more before it waits. */
#ifndef SIM_TLS_H
#define SIM_TLS_H

#include "base/base.h"

#include <sys/types.h>

/* Certificate, key and ALPN: made once, shared by all threads. */
typedef struct sim_tls_config sim_tls_config_t;
typedef struct sim_tls sim_tls_t;

/* cert, key: PEM files.  http2: ALPN chooses h2 before http/1.1.  NULL, and why in eb. */
sim_tls_config_t *sim_tls_config_new(const char *cert, const char *key, bool http2,
                                     pst_errbuf_t *eb);
void sim_tls_config_destroy(sim_tls_config_t **c);

/* The server's side of fd; the config is borrowed, the descriptor stays the caller's. */
sim_tls_t *sim_tls_new(sim_tls_config_t *c, int fd);
void sim_tls_destroy(sim_tls_t **t);

/* 1: done.  0: the socket must become readable, or writable if *ret_write.  -1: it failed. */
int sim_tls_handshake(sim_tls_t *t, bool *ret_write);
bool sim_tls_http2(const sim_tls_t *t);   /* ALPN chose it */
bool sim_tls_resumed(const sim_tls_t *t); /* an earlier session, by its ticket */
ssize_t sim_tls_read(sim_tls_t *t, char *p, size_t n);
ssize_t sim_tls_write(sim_tls_t *t, const char *p, size_t n);
bool sim_tls_more(const sim_tls_t *t); /* the last read had no room for all there was */
void sim_tls_bye(sim_tls_t *t);        /* close_notify: nothing more will be written */

/* Makes DIR/cert.pem and DIR/key.pem for 127.0.0.1 and localhost, good for a month, unless they are
 * there.  False, and why in eb. */
bool sim_tls_self_signed(const char *dir, pst_errbuf_t *eb);

#endif
