/* routing.h - OpenRouter's routing fields of a body, checked and put into a pst_route_t: `model` with its suffix,
 * `models`, `provider`.  Unknown members are refused: a wish that would be ignored silently is worse than an error. */
#ifndef PST_ROUTING_H
#define PST_ROUTING_H

#include "lib/body.h"
#include "wire/msg.h"

/* fallback: for a body that names no model; may be empty.  On failure *ret_why is what is wrong (static or in the
 * arena) and the cause is returned: LINE_MISSING, LINE_BODY, LINE_ROUTING.  params is left 0. */
pst_cause_t pst_routing_read(const pst_body_t *b, pst_view_t fallback, pst_arena_t *a, pst_route_t *ret,
                             pst_view_t *ret_why);

#endif
