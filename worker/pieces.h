/* pieces.h - parts of answers that are being made, on their way to the broker.
 *
 * Lines of a task are gathered into a piece until it is sent: a broker that is slow, or a socket that is full, gets fewer
 * and longer ones.  Pieces are not acknowledged: when a session ends those of a task of which some were sent are lost,
 * while a task that has told nothing yet can do so in the next one.
 *
 * Memory is bounded by the caller: when pst_pieces_full says so he reads no more of what fills it. */
#ifndef PST_PIECES_H
#define PST_PIECES_H

#include "base/list.h"
#include "wire/msg.h"

#define PST_PIECES_BYTES_MAX ((size_t)16 << 20)
#define PST_PIECES_MESSAGE_BYTES ((size_t)4 << 20)

typedef struct pst_pieces pst_pieces_t;
typedef struct pst_pieces_one pst_pieces_one_t;

/* Of one task.  Open, so that a run can embed it; zero is a valid start. */
typedef struct pst_voice {
    pst_pieces_one_t *last; /* being gathered; NULL: none */
    uint32_t number;        /* of the next piece */
    bool told;              /* one was sent */
} pst_voice_t;

pst_pieces_t *pst_pieces_new(void);
void pst_pieces_destroy(pst_pieces_t **p); /* voices must have ended */

/* text: whole lines, none longer than a piece may be. */
void pst_pieces_add(pst_pieces_t *p, pst_voice_t *v, const pst_task_ref_t *task, pst_view_t text);
/* Nothing more is added; what there is will be sent, or is dropped. */
void pst_pieces_end(pst_pieces_t *p, pst_voice_t *v, bool drop);
bool pst_pieces_full(const pst_pieces_t *p);

/* false: there is none.  The message is valid until any other call. */
bool pst_pieces_next(pst_pieces_t *p, pst_msg_pieces_t *ret);
/* The session has ended: what cannot be sent in another one is dropped. */
void pst_pieces_lost(pst_pieces_t *p);

#endif
