/* walk.h - stepping over msgpack values without reading them: what pst_wire_check and the cursor
 * share.
 *
 * Only what the protocol uses is stepped over: nil, booleans, integers, str, bin and arrays, and
 * floats where the caller allows them.  Needs no memory but a fixed stack, and never looks past
 * `end`. */
#ifndef PST_WIRE_WALK_H
#define PST_WIRE_WALK_H

#include "wire/msg.h"

typedef struct pst_walk {
    const uint8_t *p, *end;
    unsigned depth;  /* arrays open around the first value */
    bool floats;     /* allowed */
    uint64_t values; /* stepped over so far, arrays counted too */
} pst_walk_t;

/* Steps over n values; PST_E_MALFORMED leaves w->p anywhere. */
PST_MUSTCHECK pst_err_t pst_walk_skip(pst_walk_t *w, uint64_t n);

#endif
