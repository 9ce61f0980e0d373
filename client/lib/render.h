/* render.h - an ended job as the line of PRODUCT.md section 3.  Pure. */
#ifndef PST_RENDER_H
#define PST_RENDER_H

#include "base/buf.h"
#include "wire/msg.h"

/* Appends the line without a newline.  batch: the batch's id as text; body: the answer, spliced in as it stands. */
void pst_render_line(const char *batch, const pst_result_pack_t *pack, const pst_result_t *r, pst_view_t body,
                     pst_buf_t *out);
/* A job that has not ended: {"status":"queued",…}. */
void pst_render_state(const char *batch, const pst_msg_job_t *job, pst_buf_t *out);

#endif
