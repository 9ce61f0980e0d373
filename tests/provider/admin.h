/* admin.h - what a test asks and sets while the provider runs: /_sim/… */
#ifndef SIM_ADMIN_H
#define SIM_ADMIN_H

#include "service.h"

/* what: the path after /_sim/.  Puts the reply into s->out and returns its status. */
int sim_admin(sim_service_t *s, const sim_http_req_t *req, pst_view_t what);

#endif
