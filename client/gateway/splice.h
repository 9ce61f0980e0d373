/* splice.h - pieces of one JSON document spliced into another, for the gateway's dialects.
 *
 * Text that only moves is copied with its quotes and escapes, never decoded: cheaper, and NULs and lone surrogates
 * survive.  What is written stays on one line whatever it is made of, as it may be a line of a file or of an event. */
#ifndef PST_SPLICE_H
#define PST_SPLICE_H

#include "base/json.h"

/* A member that is there and not null, else PST_JSON_NONE. */
uint32_t pst_splice_member(const pst_json_t *j, uint32_t obj, const char *key);
/* The inside of a string token, escapes as they stand: two of them joined are a string again.  Empty for others. */
pst_view_t pst_splice_inside(const pst_json_t *j, uint32_t t);
/* true if t is a string with exactly these bytes (words of an API have no escapes). */
bool pst_splice_is(const pst_json_t *j, uint32_t t, const char *word);
/* true if t is a string with something in it. */
bool pst_splice_has_text(const pst_json_t *j, uint32_t t);
/* A count of tokens: 0 unless t is a number >= 0 that fits. */
uint64_t pst_splice_count(const pst_json_t *j, uint32_t t);

/* A value as it stands, but for the ends of lines between its parts. */
void pst_splice_put(pst_buf_t *b, const pst_json_t *j, uint32_t t);
/* ,"key":<t>, or nothing if t is NONE. */
void pst_splice_put_member(pst_buf_t *b, const char *key, const pst_json_t *j, uint32_t t);
/* ,"key":<text, quoted> */
void pst_splice_put_text(pst_buf_t *b, const char *key, pst_view_t text);

#endif
