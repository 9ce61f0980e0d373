/* h2.h - HTTP/2 on one connection, by nghttp2.
 *
 * Sans-IO: the server hands over the bytes that came and takes those to send.  A stream's request
 * goes through the same service as one of HTTP/1.1, and the bytes of its reply are read back into
 * frames here: the service knows of one version alone.
 *
 * A cut is the stream's here, RST_STREAM with INTERNAL_ERROR: its neighbours on the connection go on.
 * Only an outage cuts the connection, and with it all calls in flight on it.
 *
 * One hub a thread holds what its connections share: the times at which replies are due, which
 * connections have something to send, the memory of streams that ended. */
#ifndef SIM_H2_H
#define SIM_H2_H

#include "service.h"

#define SIM_H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

typedef struct sim_h2_hub sim_h2_hub_t;
typedef struct sim_h2 sim_h2_t;

/* The service is borrowed.  streams_max: at once on a connection, as SETTINGS says. */
sim_h2_hub_t *sim_h2_hub_new(sim_service_t *s, unsigned streams_max);
void sim_h2_hub_destroy(sim_h2_hub_t **hub); /* after its connections */
/* When sim_h2_hub_step is wanted next; PST_NEVER. */
pst_ns_t sim_h2_hub_due(const sim_h2_hub_t *hub);
void sim_h2_hub_step(sim_h2_hub_t *hub, pst_ns_t now);
/* The owner of a connection that has something to send or is to be closed, each once; NULL. */
void *sim_h2_hub_ready(sim_h2_hub_t *hub);

sim_h2_t *sim_h2_new(sim_h2_hub_t *hub, void *owner);
/* Replies not yet made out are counted as lost: by a cut, or because the client left. */
void sim_h2_destroy(sim_h2_t **h);
/* Bytes of the client, its preface first.  False: close the connection, there is nothing to say. */
bool sim_h2_read(sim_h2_t *h, const char *p, size_t n, pst_ns_t now);
/* Appends what is to be sent, all of it or about `enough` bytes.  False: close. */
bool sim_h2_write(sim_h2_t *h, pst_buf_t *out, size_t enough);
/* Nothing more will come or go: close when all is sent. */
bool sim_h2_is_done(const sim_h2_t *h);

#endif
