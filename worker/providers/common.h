/* common.h - small things that every adapter needs: views, JSON pieces spliced as they stand,
 * made-up ids.
 *
 * Text that only moves from one document to another is copied with its quotes and escapes, never
 * decoded: cheaper, and NULs and lone surrogates survive. */
#ifndef PST_PROVIDERS_COMMON_H
#define PST_PROVIDERS_COMMON_H

#include "provider.h"

#define PST_SCOPED(release) __attribute__((cleanup(release)))

/* ASCII white space at both ends taken off. */
pst_view_t pst_text_trim(pst_view_t v);
bool pst_text_starts(pst_view_t v, const char *prefix);
/* Needle (lower case) found without regard to ASCII case; *ret_after, if given, is what follows
 * it. */
bool pst_text_has(pst_view_t hay, const char *needle, pst_view_t *ret_after);

/* Value of a header by its lower-case name, trimmed; empty if absent. */
pst_view_t pst_answer_header(const pst_http_answer_t *answer, const char *name);
/* The provider's id of the request, from the header it uses; empty if none. */
pst_view_t pst_answer_request_id(const pst_http_answer_t *answer);
/* 2xx */
static inline bool pst_answer_ok(const pst_http_answer_t *answer)
{
    return answer->status >= 200 && answer->status < 300;
}

/* A member that is there and not null, else PST_JSON_NONE. */
uint32_t pst_member(const pst_json_t *j, uint32_t obj, const char *key);
/* The values of several members in one walk: ret[i] is what pst_json_get finds for key[i]. */
void pst_members(const pst_json_t *j, uint32_t obj, const pst_view_t *key, unsigned keys, uint32_t *ret);
/* NONE for null too. */
uint32_t pst_if_any(const pst_json_t *j, uint32_t t);
/* true if t is a string with exactly these bytes (it must have no escapes: words of an API have
 * none). */
bool pst_is_word(const pst_json_t *j, uint32_t t, const char *word);
/* true if t is a string with something in it. */
bool pst_has_text(const pst_json_t *j, uint32_t t);
/* The inside of a string token, escapes as they stand: two of them joined are a string again. */
pst_view_t pst_inside(const pst_json_t *j, uint32_t t);
/* A count of tokens: 0 unless t is a number >= 0 that fits. */
uint64_t pst_count_of(const pst_json_t *j, uint32_t t);
bool pst_is_true(const pst_json_t *j, uint32_t obj, const char *key);
bool pst_is_false(const pst_json_t *j, uint32_t obj, const char *key);

/* ,"key":<t as it stands>, or nothing if t is NONE. */
void pst_put_raw(pst_buf_t *b, const char *key, const pst_json_t *j, uint32_t t);
void pst_put_text(pst_buf_t *b, const char *key, pst_view_t text);
void pst_put_count(pst_buf_t *b, const char *key, uint64_t n);
/* FNV-1a: of two texts of one conversation the same with a chance of 2^-64. */
uint64_t pst_text_hash(pst_view_t v);
/* A number from 0 up without a key: cheaper than printf. */
void pst_put_digits(pst_buf_t *b, uint64_t n);
/* prefix + 16 hexadecimal digits of `random` and `salt`, as a JSON string: the same call gives the
 * same id. */
void pst_put_made_id(pst_buf_t *b, const char *prefix, uint64_t random, uint32_t salt);

/* A name as one segment of a path: a user may name any model of a provider, so nothing in a name may leave its place
 * there. */
void pst_put_segment(pst_buf_t *b, pst_view_t name);

/* A buffer of n bytes in the arena, which never grows: what has no room there fails it.  Not to be released. */
PST_MUSTCHECK pst_err_t pst_buf_in_arena(pst_buf_t *b, pst_arena_t *a, size_t n);
/* The buffer's text, copied to the arena.  PST_E_NOMEM if buffer or arena had no room. */
PST_MUSTCHECK pst_err_t pst_seal(const pst_buf_t *b, pst_arena_t *a, pst_view_t *ret);

/* "data:TYPE;base64,DATA" (parameters between are dropped).  false if v is not of that form. */
bool pst_data_uri(pst_view_t v, pst_view_t *ret_type, pst_view_t *ret_data);

#endif
