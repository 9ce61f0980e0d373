/* jscan.h - a strict JSON reader that goes once over the text, asked for what comes next.
 *
 * The simulated provider has its own, rather than base/json.h, so that a fault of ours there cannot
 * hide by standing on both sides of the wire; and because it needs only a few fields of each body.
 * Every byte is validated (RFC 8259, UTF-8, depth), also what is skipped.  Borrows the text. */
#ifndef SIM_JSCAN_H
#define SIM_JSCAN_H

#include "base/buf.h"

typedef struct sim_js {
    const char *p, *end;
    unsigned depth;
    bool first; /* nothing has been read yet of the innermost object or array */
    bool bad;   /* not JSON: every later call fails */
} sim_js_t;

void sim_js_init(sim_js_t *j, pst_view_t text);
/* First byte of the next value ('{', '[', '"', a digit, …), 0 at the end. */
char sim_js_peek(sim_js_t *j);
bool sim_js_enter(sim_js_t *j,
                  char open); /* open: '{' or '['; false (and bad) if something else comes */
bool sim_js_key(sim_js_t *j,
                pst_view_t *ret); /* the next member's raw key; false at the end of the object */
bool sim_js_item(sim_js_t *j);    /* there is a next item; false at the end of the array */
bool sim_js_string(sim_js_t *j, pst_view_t *ret); /* between the quotes, escapes as they stand */
bool sim_js_skip(sim_js_t *j, pst_view_t *ret);   /* any value, raw; ret may be NULL */
bool sim_js_end(sim_js_t *j);                     /* nothing but blanks is left, and all was well */

/* A raw string's bytes: raw itself if it has no escape, else decoded into b (whose memory must
 * stay). */
pst_view_t sim_js_decode(pst_view_t raw, pst_buf_t *b);
/* s quoted and escaped; what is no UTF-8 becomes U+FFFD. */
void sim_js_put(pst_buf_t *b, pst_view_t s);

#endif
