/* inline.h - a batch that comes as one JSON object, {"requests":[{…},{…}],"model":"…",…}, read as it arrives.
 *
 * Bytes are fed as they come, cut anywhere.  Each element of the named array is handed out as its exact text as soon as
 * its last byte is there; what else the object has is kept, so that the memory is that of one element whatever the size
 * of the body.  Strict JSON: every value is checked whole by base/json.h.
 *
 * Members come in any order (OpenRouter refuses `requests` before `model`).  So a member that applies to all elements
 * may follow them: elements are handed out when they are there, and a caller that needs the other members to use them
 * asks pst_inline_member whether they are, and spools the elements until they are or until pst_inline_end.  A member that
 * is absent is known to be absent only then.
 *
 * Refused: what is no object, an array that is none or is there twice, any member given twice (two readers of the same
 * body would take different ones), a key or value that is not JSON, and what is over a bound.  Pure but for memory. */
#ifndef PST_INLINE_H
#define PST_INLINE_H

#include "base/base.h"

#define PST_INLINE_MEMBERS_MAX 64
#define PST_INLINE_MEMBERS_BYTES_MAX ((size_t)64 << 10) /* keys and values together, but for the array's */

typedef struct pst_inline pst_inline_t;
/* index: from 0.  text: one value, without blanks around it, valid during the call; it may hold line feeds.  Anything but
 * PST_OK stops the reader, which returns it. */
typedef pst_err_t pst_inline_element_fn(void *arg, uint64_t index, pst_view_t text);

/* array: the member's name, borrowed.  element_bytes_max 0: as long as an input line may be. */
pst_inline_t *pst_inline_new(const char *array, size_t element_bytes_max, pst_inline_element_fn *fn, void *arg);
void pst_inline_destroy(pst_inline_t **r);
/* PST_E_INPUT: not such an object; PST_E_TOO_LARGE: over a bound; PST_E_NOMEM; or what the callback returned.  Every
 * call after one that failed returns the same. */
PST_MUSTCHECK pst_err_t pst_inline_feed(pst_inline_t *r, const void *p, size_t n);
/* The body is over: PST_E_INPUT too if it is not whole, or has no such array. */
PST_MUSTCHECK pst_err_t pst_inline_end(pst_inline_t *r);
/* The object is there to its last bracket, with the array or without. */
bool pst_inline_is_whole(const pst_inline_t *r);

/* Text of another member's value, valid while nothing more is fed; p NULL: not there (yet). */
pst_view_t pst_inline_member(const pst_inline_t *r, const char *name);
size_t pst_inline_memory(const pst_inline_t *r); /* bytes that it takes: those of the value being read */
uint64_t pst_inline_elements(const pst_inline_t *r); /* handed out so far */
/* What was wrong, and at which byte of the body, from 0; "" while nothing is. */
const char *pst_inline_fault(const pst_inline_t *r, uint64_t *ret_at);

#endif
