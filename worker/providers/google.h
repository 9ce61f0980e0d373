/* google.h - the `details` of Google's errors (google.rpc), which say more than the status: that a
 * quota is the day's, that the plan has run out, that the key is wrong, how long to wait. */
#ifndef PST_PROVIDERS_GOOGLE_H
#define PST_PROVIDERS_GOOGLE_H

#include "provider.h"

/* Refines a reading that the status gave; nothing if the error object has no details.
 * wait_said: a header said how long, which is believed first. */
void pst_google_refine(const pst_json_t *j, uint32_t error, const pst_http_answer_t *answer,
                       bool wait_said, pst_arena_t *a, pst_reading_t *ret);

#endif
