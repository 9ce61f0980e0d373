/* webhook_url.h - where a webhook may go.
 *
 * The gateway calls addresses that its users name, from where it stands, which may be a network they cannot reach: a
 * webhook must not be a way into it.  So unless the configuration says otherwise (gateway.webhook_private), what is called is
 * an address of the public Internet.  A name says nothing of that, and may say something else the next time it is asked:
 * the address is looked at when a socket is about to be opened for it (webhook_post.h).  What can be refused earlier is, so
 * that whoever submits a batch is told at once.
 *
 * Read by curl, which is who calls it: nothing is read two ways. */
#ifndef PST_WEBHOOK_URL_H
#define PST_WEBHOOK_URL_H

#include <sys/socket.h>

#include "base/base.h"

#define PST_WEBHOOK_URL_BYTES_MAX 2048
#define PST_WEBHOOK_HOST_BYTES_MAX 262 /* a name, a colon and a port */

/* http or https, a host, no user or password (they would lie in Redis).  PST_E_INPUT with words in eb.  ret_host: "host:port";
 * may be NULL. */
PST_MUSTCHECK pst_err_t pst_webhook_url_check(pst_view_t url, bool private_too,
                                              char ret_host[PST_WEBHOOK_HOST_BYTES_MAX + 1], pst_errbuf_t *eb);
/* An address of the public Internet, one host's: not this machine, not a network of its own, no link, no group, none that
 * is set aside for documents, tests, translation or a cloud's data on its machines.  Addresses of IPv6 that stand for
 * one of IPv4 are what that is. */
bool pst_webhook_address_public(const struct sockaddr *a);

#endif
