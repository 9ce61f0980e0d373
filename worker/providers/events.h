/* events.h - a whole response told as the events of its stream, for clients that asked for one of a provider that gave the
 * answer at once: what was said is told as if it were being said.  Pure. */
#ifndef PST_PROVIDERS_EVENTS_H
#define PST_PROVIDERS_EVENTS_H

#include "base/json.h"

/* response: a response, parsed.  One event a line.  Returns how many. */
uint64_t pst_response_events(const pst_json_t *response, pst_buf_t *out);

#endif
