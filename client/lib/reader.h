/* reader.h - a batch's results as they lie: which packs to ask for next, and the results in those that came.  No I/O.
 *
 * Each segment of a batch has its own row of packs and its own cursor, and a running batch may get results in any of
 * them: a segment is read until it has no more for now, then the next is asked.  Only the last of a silent round is
 * asked to wait, and the broker wakes it whichever segment gets something.
 *
 *   while pst_reader_next gives none and pst_reader_wants something: FETCH it, pst_reader_take the answer. */
#ifndef PST_READER_H
#define PST_READER_H

#include "base/buf.h"
#include "wire/msg.h"

typedef struct pst_reader pst_reader_t;

/* bytes: of an answer, about. */
PST_MUSTCHECK pst_err_t pst_reader_new(const pst_id_t *batch, uint32_t bytes, pst_reader_t **ret);
void pst_reader_destroy(pst_reader_t **r);

/* What to ask for; false: nothing for now (until pst_reader_look_again), or for ever: *ret_ended. */
bool pst_reader_wants(pst_reader_t *r, uint32_t wait_ms, pst_msg_fetch_t *ret, bool *ret_ended);
void pst_reader_look_again(pst_reader_t *r);
/* What would be asked if the present segment has more. */
pst_msg_fetch_t pst_reader_fetch(const pst_reader_t *r, uint32_t wait_ms);
/* The answer.  Without copy, what it points to must live until the next. */
PST_MUSTCHECK pst_err_t pst_reader_take(pst_reader_t *r, const pst_msg_results_t *in, bool copy);

/* The next result of what was taken, NULL if there is none.  It lives until the next call.  MALFORMED, NOMEM. */
PST_MUSTCHECK pst_err_t pst_reader_next(pst_reader_t *r, const pst_result_t **ret);
/* It as a line, without newline, appended to `out`; its body alone, until the next call. */
PST_MUSTCHECK pst_err_t pst_reader_line(pst_reader_t *r, const pst_result_t *result, pst_buf_t *out);
PST_MUSTCHECK pst_err_t pst_reader_body(pst_reader_t *r, const pst_result_t *result, pst_view_t *ret);

/* One job of a pack, with its body, given to fn; what that returns is returned.  MALFORMED if it is not there. */
typedef pst_err_t pst_reader_one_fn(void *arg, const pst_result_pack_t *pack, const pst_result_t *r, pst_view_t body);
PST_MUSTCHECK pst_err_t pst_reader_one(pst_view_t pack, uint32_t index, pst_reader_one_fn *fn, void *arg);

#endif
