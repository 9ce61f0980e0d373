/* packs.h - the packs of jobs this worker holds: headers decoded, bodies decompressed.
 *
 * A pack comes once a session and is named many times.  It is held as long as the broker may name it again
 * (until a group says `last`, or the session ends) or a run needs it.  A run is known here by its pack and
 * slot: a job that comes again while it runs is found, not called twice.
 *
 * Memory is bounded: past bytes_max the packs that no run uses are dropped, the longest unused first; should
 * the broker name one of them, pst_packs_take says NOT_FOUND and a new session makes it send the pack again.
 * When nothing is left to drop pst_packs_over tells, and the worker takes no more work. */
#ifndef PST_PACKS_H
#define PST_PACKS_H

#include "base/list.h"
#include "base/map.h"
#include "wire/msg.h"

typedef struct pst_run pst_run_t;
typedef struct pst_packs pst_packs_t;

typedef struct pst_pack {
    pst_id_t batch;
    uint32_t segment, pack;
    uint8_t priority;      /* of the batch */
    pst_pack_headers_t headers;  /* views into the arena */
    pst_run_t **run;             /* by slot; NULL: none */
    bool readable;               /* false: the bodies do not decompress, and there is no text */
    /* below: packs.c's own */
    pst_packs_t *owner;
    char *text;
    uint32_t *body_at;           /* by slot */
    uint32_t runs;
    bool held;                   /* the broker may name it without sending it */
    size_t bytes;
    pst_link_t idle;             /* in pst_packs.idle while held without runs */
    pst_arena_t arena;
} pst_pack_t;

pst_packs_t *pst_packs_new(size_t bytes_max, uint64_t seed);
void pst_packs_destroy(pst_packs_t **p);
/* The pack a group speaks of: the one it brings, or the one held under its name.  The caller attaches runs and
 * then calls pst_packs_settle.  NOT_FOUND: not brought and not held.  MALFORMED, TOO_LARGE, NOMEM: what it
 * brings cannot be read. */
PST_MUSTCHECK pst_err_t pst_packs_take(pst_packs_t *p, const pst_task_group_t *g, pst_pack_t **ret);
/* After the group's runs are attached; may free the pack. */
void pst_packs_settle(pst_packs_t *p, pst_pack_t *pack, bool last);
/* The run of that job, or NULL. */
pst_run_t *pst_packs_run(const pst_packs_t *p, const pst_task_ref_t *ref);
/* A job's body as it was submitted.  Only of a readable pack. */
pst_view_t pst_pack_body(const pst_pack_t *pack, uint16_t slot);
void pst_pack_attach(pst_pack_t *pack, uint16_t slot, pst_run_t *run);
void pst_pack_detach(pst_pack_t *pack, uint16_t slot); /* may free the pack */
/* The session ended: nothing is held for its broker any more. */
void pst_packs_forget(pst_packs_t *p);
bool pst_packs_over(const pst_packs_t *p);
size_t pst_packs_bytes(const pst_packs_t *p);

#endif
