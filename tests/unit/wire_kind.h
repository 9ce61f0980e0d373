/* wire_kind.h - everything that has an encoding, under one roof: each message, and the four things
 * that messages carry as bytes.  So each test is written once and holds for all. */
#ifndef WIRE_KIND_H
#define WIRE_KIND_H

#include "wire_sample.h"

#define KIND_NAME_MAX 32

typedef struct kind {
    char name[KIND_NAME_MAX]; /* "messages/hello", "values/route": also the vectors' file without
                                 ".json" */
    uint8_t type;             /* pst_msg_type_t, 0 for what is no message */
    void (*encode)(const void *v, pst_buf_t *out);
    pst_err_t (*decode)(pst_view_t bytes, pst_arena_t *a, void *ret);
    void (*dump)(const void *v, pst_buf_t *out);
} kind_t;

/* Fits any of them. */
typedef union thing {
    pst_msg_t msg;
    pst_route_t route;
    pst_pack_headers_t headers;
    pst_result_pack_t results;
    pst_batch_info_t info;
} thing_t;

/* The i-th kind; false past the last. */
bool kind_at(unsigned i, kind_t *ret);
/* false if no kind has that name. */
bool kind_find(pst_view_t name, kind_t *ret);
void kind_sample(const kind_t *k, sample_t *s, thing_t *ret);

#endif
