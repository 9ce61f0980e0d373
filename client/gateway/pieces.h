/* pieces.h - a text that comes in parts into a file of the gateway's: cut into pieces, compressed, and stored while it comes.
 *
 *   text ──► piece (1 MiB) ──► compressed ──► SET, a few unanswered at a time, else it is busy
 *   the end ──► all SETs answered ──► the file's hash, and its place in the list ──► made
 * A file is there when its hash is: what broke off is taken away again, or, where the gateway dies, expires by itself an hour
 * later (pieces get the file's own expiry with the hash). */
#ifndef PST_GATEWAY_PIECES_H
#define PST_GATEWAY_PIECES_H

#include "gateway/file.h"
#include "gateway/parts.h"

#define PST_FILE_EXPIRES_S (30u * 86400u) /* unless something else is asked for */
#define PST_PURPOSE_INLINE "batch_inline" /* of the input of a batch that came with its requests in it; not listed */

typedef struct pst_pieces pst_pieces_t;

typedef struct pst_pieces_events {
    void (*room)(void *arg);          /* it is not busy any more */
    void (*made)(void *arg, bool ok); /* after pst_pieces_end, in it or later: the file is there, or Redis was away */
    void *arg;
} pst_pieces_events_t;

/* NULL: out of memory. */
pst_pieces_t *pst_pieces_new(pst_gateway_t *g, const pst_pieces_events_t *events);
const char *pst_pieces_id(const pst_pieces_t *p);
/* Takes all of it, also while it is busy: whoever feeds it waits then. */
void pst_pieces_put(pst_pieces_t *p, pst_view_t text);
bool pst_pieces_is_busy(const pst_pieces_t *p);
size_t pst_pieces_memory(const pst_pieces_t *p); /* bytes that it takes */
bool pst_pieces_is_lost(const pst_pieces_t *p); /* Redis refused one, or was away: there will be no file */
/* No more text.  file: what is to be said of it; bytes, pieces and created_ms are put there by this.  expires_s: from now. */
void pst_pieces_end(pst_pieces_t *p, const pst_file_t *file, uint64_t expires_s, bool listed);
const pst_file_t *pst_pieces_file(const pst_pieces_t *p); /* bytes: of what was put so far; the rest once it is made */

/* Lets it go: with its file, if it was made; or without, then nothing of it stays.  No event comes after. */
void pst_pieces_keep(pst_pieces_t **p);
void pst_pieces_drop(pst_pieces_t **p);

/* Takes a file's hash and its pieces away. */
void pst_pieces_unlink(pst_gateway_t *g, const char *file, uint32_t pieces);

#endif
