/* sse.h - server-sent events, taken apart as their bytes come.
 *
 * As the HTML standard has it (9.2.6, "Interpreting an event stream"): lines end in LF, CR or both; a byte order mark
 * before the first is skipped; `data` of several lines is joined by line feeds; a line that begins with a colon is a
 * comment; an empty line ends the event, and an event without data is none.  Of its fields `event` and `data` are read.
 *
 * Pure.  At most PST_SSE_EVENT_BYTES_MAX of an event are held. */
#ifndef PST_PROVIDERS_SSE_H
#define PST_PROVIDERS_SSE_H

#include "base/buf.h"
#include "penstock/limits.h"

#define PST_SSE_EVENT_BYTES_MAX ((size_t)PST_PIECE_BYTES_MAX)

typedef enum pst_sse_state {
    PST_SSE_MORE,      /* all bytes are taken, and no event has ended */
    PST_SSE_EVENT,
    PST_SSE_TOO_LARGE, /* an event is, and nothing behind it can be read */
} pst_sse_state_t;

typedef struct pst_sse {
    pst_buf_t line; /* that has not ended yet */
    pst_buf_t name, data; /* of the event so far */
    bool begun;     /* the first line has been seen */
    bool after_cr;  /* a line feed would belong to the line before */
    bool kept;      /* `line` is a whole one, taken apart already */
    bool has_data, ended; /* of the event */
} pst_sse_t;

void pst_sse_init(pst_sse_t *s);
void pst_sse_release(pst_sse_t *s);
/* Takes bytes up to the end of the next event.  Its name (empty: none was said) and data stay until the next call. */
pst_sse_state_t pst_sse_next(pst_sse_t *s, pst_view_t *bytes, pst_view_t *ret_name, pst_view_t *ret_data);
/* No more bytes come.  The standard drops an event whose empty line is missing; some servers leave it out behind the last
 * one, which is given. */
pst_sse_state_t pst_sse_end(pst_sse_t *s, pst_view_t *ret_name, pst_view_t *ret_data);

#endif
