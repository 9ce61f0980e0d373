/* top_draw.h - the picture of `penstock top`: two looks at the cluster as text for a screen of some size.  Pure. */
#ifndef PST_TOP_DRAW_H
#define PST_TOP_DRAW_H

#include "base/buf.h"
#include "cli/cli.h"

/* One look. */
typedef struct pst_top_look {
    pst_top_t top;
    pst_batch_list_t running; /* batches that have not ended, newest first; `more`: there are more of them */
} pst_top_look_t;
void pst_top_look_release(pst_top_look_t *l);

typedef struct pst_top_screen {
    unsigned columns, rows;   /* 0: without bound */
    bool bold;                /* titles, on a terminal */
    const char *note;         /* behind the first line; NULL: none */
} pst_top_screen_t;

/* Appends at most `rows` lines of at most `columns` characters.  Rates are what changed since `before`, an earlier
 * look; NULL, or one at a broker that has begun anew since: there are none. */
void pst_top_draw(const pst_top_look_t *now, const pst_top_look_t *before, const pst_top_screen_t *screen,
                  pst_buf_t *out);

#endif
