/* reply.h - an answer over HTTP, as it comes.
 *
 * Filled in one of two ways: from what a connection brings, HTTP/1.1 being understood here (room, came, eof), or
 * from header lines and a body that curl has taken apart (header, body).
 *
 *   status line, headers --(1xx: again)--> body by length | in chunks, trailers | until the end --> DONE
 *
 * What is not understood is BROKEN and not guessed at: two lengths that differ, a transfer encoding other than
 * chunked, a line without an end.  The body is put together in place; nothing is copied but the chunks of a
 * chunked one, over the lines between them.
 *
 * Pure: no clock, no I/O. */
#ifndef PST_HTTP_REPLY_H
#define PST_HTTP_REPLY_H

#include "base/list.h"
#include "provider.h"

#define PST_HTTP_ANSWER_HEADERS_MAX 64
#define PST_HTTP_ANSWER_HEADER_BYTES_MAX (16u << 10) /* names and values: a header that passes it is left out */
#define PST_REPLY_LINES_BYTES_MAX ((size_t)256 << 10) /* status lines, headers, trailers: more is BROKEN */

typedef enum pst_reply_state {
    PST_REPLY_MORE,
    PST_REPLY_DONE,
    PST_REPLY_BROKEN,
    PST_REPLY_TOO_LARGE,
} pst_reply_state_t;

/* A Content-Encoding. */
typedef enum pst_coding {
    PST_CODING_NONE,
    PST_CODING_GZIP,
    PST_CODING_DEFLATE,
    PST_CODING_OTHER, /* or more than one */
} pst_coding_t;

/* Where a header's text lies in pst_reply_t.head. */
typedef struct pst_reply_span {
    uint32_t name_at, name_n, value_at, value_n;
} pst_reply_span_t;

/* Open, so that it can be kept on lists: fields are reply.c's own but where it says so. */
typedef struct pst_reply {
    pst_link_t link;         /* its owner's */
    pst_buf_t in;            /* as it came; from body_at to body_end the body */
    size_t body_at, body_end;
    size_t at;               /* the first byte not understood yet */
    size_t lines;            /* bytes of lines so far */
    uint64_t left;           /* of the body, or of the chunk */
    int phase;
    int status;              /* to read: once DONE, or begun */
    bool keeps;              /* to read: the connection can serve another call */
    pst_coding_t coding;     /* to read: of the body */
    bool closes, has_length, chunked;
    uint64_t length;
    unsigned spans;
    pst_buf_t head;          /* text of the headers */
    pst_reply_span_t span[PST_HTTP_ANSWER_HEADERS_MAX];
} pst_reply_t;

void pst_reply_init(pst_reply_t *r);
void pst_reply_clear(pst_reply_t *r); /* ready for another answer; memory kept, but of a long one */
void pst_reply_release(pst_reply_t *r);

/* Where to put what comes next: *ret_n bytes at least 1.  NULL: no memory. */
char *pst_reply_room(pst_reply_t *r, size_t *ret_n);
/* So many bytes were put there. */
PST_MUSTCHECK pst_reply_state_t pst_reply_came(pst_reply_t *r, size_t n);
/* The connection has ended. */
PST_MUSTCHECK pst_reply_state_t pst_reply_eof(pst_reply_t *r);

/* The status of the answer itself is there. */
static inline bool pst_reply_begun(const pst_reply_t *r)
{
    return r->status >= 200;
}
/* What has come of the body.  Of one whose length was told: once all of it is there. */
pst_view_t pst_reply_so_far(const pst_reply_t *r);
/* It was taken: what comes next stands in its place. */
void pst_reply_taken(pst_reply_t *r);

/* A line as curl hands it on; a status line forgets the headers before it, which were an interim answer's. */
void pst_reply_header(pst_reply_t *r, pst_view_t line);
/* false: it is larger than an answer may be. */
PST_MUSTCHECK bool pst_reply_body(pst_reply_t *r, const void *p, size_t n);

/* Spare ones, the latest first: most answers come at once, so that a few, still in the cache, serve any number of
 * calls. */
typedef struct pst_replies {
    pst_link_t spare;
    unsigned n;
} pst_replies_t;

void pst_replies_init(pst_replies_t *l);
void pst_replies_release(pst_replies_t *l);
pst_reply_t *pst_replies_take(pst_replies_t *l);
void pst_replies_give(pst_replies_t *l, pst_reply_t **r); /* NULL-safe */

/* header: room for PST_HTTP_ANSWER_HEADERS_MAX.  Sets the answer's headers and body: views into r. */
void pst_reply_fill(const pst_reply_t *r, pst_http_header_t *header, pst_http_answer_t *ret);

#endif
