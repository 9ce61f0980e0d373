/* sigv4.h - AWS's Signature Version 4, in headers.
 *
 * Ours because libcurl 7.88 takes the path as it is sent, while AWS encodes it once more before it signs (all its
 * services but S3): ids of models have colons, which are sent as %3A and signed as %253A.
 *
 * Pure: key, request and time are arguments. */
#ifndef PST_HTTP_SIGV4_H
#define PST_HTTP_SIGV4_H

#include "base/buf.h"
#include "provider.h"

typedef struct pst_sigv4_key {
    pst_view_t id, secret;
    pst_view_t token;          /* of a session; empty: none.  Whoever signs with one sends and signs it as a header */
    pst_view_t region, service;
} pst_sigv4_key_t;

typedef struct pst_sigv4_req {
    const char *method;
    pst_view_t host;           /* as the Host header has it */
    pst_view_t target;         /* path and query as the request line has them */
    const pst_http_header_t *header; /* signed beside Host and X-Amz-Date; PST_HTTP_HEADERS_MAX at most */
    unsigned headers;
    const pst_view_t *piece;   /* the body, piece by piece */
    unsigned pieces;
} pst_sigv4_req_t;

#define PST_SIGV4_DATE_N 16 /* 20150830T123600Z */

/* ID:SECRET or ID:SECRET:TOKEN.  false, and nothing set, if there is no colon in it. */
bool pst_sigv4_key_parse(pst_view_t text, pst_sigv4_key_t *ret);
/* What an address of Bedrock says of its region: bedrock-runtime.REGION.amazonaws.com, with what VPCs have before it.
 * Of any other host: us-east-1. */
pst_view_t pst_sigv4_region(pst_view_t host);
/* The values of the headers X-Amz-Date and Authorization; the latter is appended to a buffer. */
void pst_sigv4_sign(const pst_sigv4_key_t *key, const pst_sigv4_req_t *req, uint64_t wall_s,
                    char ret_date[PST_SIGV4_DATE_N + 1], pst_buf_t *ret_authorization);

#endif
