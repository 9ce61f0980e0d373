/* inlined.h - creations of batches that come with their requests in the body: how a handler begins one (parts.h has its data and
 * end). */
#ifndef PST_GATEWAY_INLINED_H
#define PST_GATEWAY_INLINED_H

#include "gateway/about.h"

typedef struct pst_inlined_way {
    bool anthropic;          /* requests and members are Anthropic's; else OpenRouter's, or OpenAI's of an uploaded file */
    pst_batch_show_fn *show; /* the new batch */
} pst_inlined_way_t;

/* way: static. */
void pst_inlined_begin(pst_req_t *r, const pst_inlined_way_t *way);

#endif
