/* responses.h - /v1/responses at providers that can chat only: what is asked is said as a chat completion, what is
 * answered as a response.
 *
 * A response asks more than a chat can: it may go on from one that the provider keeps, use the provider's own tools, run in
 * the background.  What would change the question itself is refused, as chat.h has it; what only tunes it is left out. */
#ifndef PST_PROVIDERS_RESPONSES_H
#define PST_PROVIDERS_RESPONSES_H

#include "provider.h"

/* The body of a chat completion that asks the same, in the arena.  PST_E_INVALID and why, or PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_responses_ask(const pst_task_t *task, pst_arena_t *a, pst_view_t *ret_body, pst_view_t *ret_why);
/* Of a reading that is DONE: its chat completion becomes a response, in the arena.  Uses the task's tape. */
void pst_responses_answer(const pst_task_t *task, const pst_http_answer_t *answer, pst_arena_t *a, pst_reading_t *r);
/* The members of a response that repeat what was asked. */
void pst_responses_put_asked(pst_buf_t *b);

#endif
