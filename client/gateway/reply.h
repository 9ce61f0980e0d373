/* reply.h - answers in the words of whoever asks: JSON bodies, errors in the envelope of a request's dialect. */
#ifndef PST_GATEWAY_REPLY_H
#define PST_GATEWAY_REPLY_H

#include "gateway/web.h"

#define PST_JSON_TYPE "application/json"

/* 200 and a JSON text; takes b's memory.  A buffer that failed is an error 503. */
void pst_reply_json(pst_req_t *r, pst_buf_t *b);
void pst_reply_json_status(pst_req_t *r, unsigned status, pst_buf_t *b);

/* OpenAI's error object: type is made of the status; code and param may be NULL.  In other dialects what they have of it. */
void pst_reply_error(pst_req_t *r, unsigned status, const char *code, const char *param, const char *fmt, ...)
    PST_PRINTF(5, 6);
/* The body alone, appended. */
void pst_error_body(pst_buf_t *b, pst_dialect_t dialect, unsigned status, const char *code, const char *param,
                    pst_view_t message, const char *request_id);

/* Those that many paths have. */
void pst_reply_not_found(pst_req_t *r, const char *what, pst_view_t id);
void pst_reply_away(pst_req_t *r);   /* Redis or the broker does not answer: 503, ask again */
void pst_reply_full(pst_req_t *r);   /* Redis has no room left for uploads */
/* A broker's error. */
void pst_reply_err(pst_req_t *r, pst_err_t e, pst_view_t words);

#endif
