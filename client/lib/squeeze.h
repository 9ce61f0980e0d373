/* squeeze.h - texts compressed by threads of their own, while the caller reads on; they come out in the order in which
 * they went in.  For one caller thread. */
#ifndef PST_SQUEEZE_H
#define PST_SQUEEZE_H

#include "wire/codec.h"

#define PST_SQUEEZE_TEXTS_MAX 8 /* in it at once */

typedef struct pst_squeeze pst_squeeze_t;

typedef struct pst_squeezed {
    void *of;                /* as given */
    pst_view_t bytes;        /* valid until the next put or destroy; may be the text itself */
    pst_codec_t codec;
} pst_squeezed_t;

/* NULL: this machine has one core, or no thread could be had; compress in the caller's then. */
pst_squeeze_t *pst_squeeze_new(void);
/* Forgets what is in it. */
void pst_squeeze_destroy(pst_squeeze_t **s);
bool pst_squeeze_full(const pst_squeeze_t *s);
/* Not when full.  `text`, of `parts` bodies, stays where it is until it was taken. */
void pst_squeeze_put(pst_squeeze_t *s, void *of, pst_view_t text, uint32_t parts);
/* The oldest.  False: there is none or, unless `wait`, it is not done.  Blocks for as long as compressing takes. */
bool pst_squeeze_take(pst_squeeze_t *s, bool wait, pst_squeezed_t *ret);

#endif
