/* server.h - connections: one epoll loop a thread. */
#ifndef SIM_SERVER_H
#define SIM_SERVER_H

#include "tls.h"
#include "world.h"

typedef struct sim_server sim_server_t;

/* What is spoken on the connections. */
typedef struct sim_server_opts {
    sim_tls_config_t *tls; /* borrowed; NULL: no TLS */
    bool http2;            /* without TLS: a client may begin with HTTP/2's preface */
    unsigned h2_streams;   /* at once on a connection of HTTP/2 */
} sim_server_opts_t;

/* listen_fd: a listening, non-blocking socket, taken over.  stop_fd: readable when it is time to
 * end; borrowed. */
sim_server_t *sim_server_new(sim_world_t *w, const sim_server_opts_t *o, int listen_fd,
                             int stop_fd);
void sim_server_run(sim_server_t *s); /* until stop_fd is readable */
void sim_server_destroy(sim_server_t **s);

#endif
