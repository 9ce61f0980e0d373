/* json.h - strict JSON (RFC 8259) as a tape of tokens over the raw text, and a writer.
 *
 * One pass validates everything (UTF-8, escapes, number grammar, depth, nothing after the value) and
 * leaves tokens that point into the text, so that a value can be spliced into another document as it
 * stands: integers past 2^53, 0.1, NUL escapes and key order all survive.  Duplicate keys are kept;
 * pst_json_get finds the first.  Borrows the text; owns only the tape.  Pure. */
#ifndef PST_JSON_H
#define PST_JSON_H

#include "base/arena.h"
#include "base/buf.h"

#define PST_JSON_DEPTH_MAX 128

typedef enum pst_json_type {
    PST_JSON_OBJECT,
    PST_JSON_ARRAY,
    PST_JSON_STRING,
    PST_JSON_NUMBER,
    PST_JSON_TRUE,
    PST_JSON_FALSE,
    PST_JSON_NULL,
} pst_json_type_t;

/* One value.  An object's children are key, value, key, value …; an array's are its items.
 * Token i's first child is i+1; its next sibling is `next`. */
typedef struct pst_json_tok {
    uint32_t start;  /* offset of the first byte; of a string: of its opening quote */
    uint32_t end;    /* one past the last byte; of a string: past its closing quote */
    uint32_t next;   /* index of the token after this whole subtree */
    uint32_t count;  /* members of an object, items of an array, else 0 */
    uint8_t type;    /* pst_json_type_t */
    bool escaped;    /* string with a backslash in it */
} pst_json_tok_t;

typedef struct pst_json {
    pst_view_t text;
    pst_json_tok_t *tok; /* tok[0] is the root */
    uint32_t n;
    uint32_t cap;
} pst_json_t;

#define PST_JSON_NONE UINT32_MAX /* "no such token" */

/* Zero is a valid start. */
static inline void pst_json_init(pst_json_t *j) { memset(j, 0, sizeof *j); }
void pst_json_release(pst_json_t *j);
/* Parses text (< 4 GiB), reusing j's memory.  PST_E_INVALID with *ret_at = byte offset of the fault
 * (ret_at may be NULL); PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_json_parse(pst_json_t *j, pst_view_t text, size_t *ret_at);

/* The value of a member of object token `obj` (PST_JSON_NONE if obj is NONE, no object, or has none).
 * A key with escapes is compared decoded. */
uint32_t pst_json_get(const pst_json_t *j, uint32_t obj, const char *key);
/* A path of members: pst_json_path(j, 0, "error", "message", NULL). */
uint32_t pst_json_path(const pst_json_t *j, uint32_t obj, ...) __attribute__((sentinel));
/* False for NONE. */
static inline bool pst_json_is(const pst_json_t *j, uint32_t t, pst_json_type_t type)
{
    return t < j->n && j->tok[t].type == type;
}
/* Raw text of a token, quotes included; empty view for NONE. */
static inline pst_view_t pst_json_raw(const pst_json_t *j, uint32_t t)
{
    const pst_json_tok_t *k = t < j->n ? &j->tok[t] : NULL;
    return k ? pst_view(j->text.p + k->start, k->end - k->start) : pst_view(NULL, 0);
}
/* A string's bytes decoded: points into the text if it has no escape, else into the arena.
 * {NULL,0} for NONE, another type, or no memory.  A decoded text may hold NULs. */
pst_view_t pst_json_str(const pst_json_t *j, uint32_t t, pst_arena_t *a);
/* true and *ret set if t is a number that fits: as a double (1e400 does not: no infinity gets in), or
 * exactly as an integer (1.0 and 1e3 do, 0.5 and 2^63 do not). */
bool pst_json_num(const pst_json_t *j, uint32_t t, double *ret);
bool pst_json_int(const pst_json_t *j, uint32_t t, int64_t *ret);
bool pst_json_bool(const pst_json_t *j, uint32_t t, bool *ret); /* true if t is true or false */

/* Iteration:  for (uint32_t k = pst_json_first(j, obj); k != PST_JSON_NONE; k = pst_json_after(j, obj, k))
 * visits an array's items, or an object's KEYS (the value of key k is k + 1). */
static inline uint32_t pst_json_first(const pst_json_t *j, uint32_t parent)
{
    return parent < j->n && j->tok[parent].count ? parent + 1 : PST_JSON_NONE;
}
static inline uint32_t pst_json_after(const pst_json_t *j, uint32_t parent, uint32_t t)
{
    uint32_t value = j->tok[parent].type == PST_JSON_OBJECT ? t + 1 : t;
    uint32_t next = j->tok[value].next;
    return next < j->tok[parent].next ? next : PST_JSON_NONE;
}

/* Writer: appends to a buffer, with commas where they belong. */
void pst_json_put_str(pst_buf_t *b, pst_view_t s);  /* quoted and escaped; invalid UTF-8 becomes U+FFFD */
void pst_json_put_key(pst_buf_t *b, const char *key); /* ,"key": with the comma unless first in its object */
void pst_json_put_num(pst_buf_t *b, double v);      /* shortest text that reads back the same */
void pst_json_put_comma(pst_buf_t *b);              /* a comma unless the last byte opens an object or array */

#endif
