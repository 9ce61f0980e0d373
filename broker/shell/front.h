/* front.h - the clients' socket: requests become events of the core or queries; DONEs go back. */
#ifndef PST_FRONT_H
#define PST_FRONT_H

#include "broker.h"

PST_MUSTCHECK pst_err_t pst_front_new(pst_broker_t *b, const char *address, pst_front_t **ret, pst_errbuf_t *eb);
void pst_front_destroy(pst_front_t **f);
pst_sessions_t *pst_front_sessions(pst_front_t *f);
void pst_front_done(pst_front_t *f, pst_peer_t peer, const pst_msg_done_t *d);

#endif
