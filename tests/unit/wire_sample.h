/* wire_sample.h - messages made up for the tests of proto/wire and for the vectors, and any message
 * as text.
 *
 * The text is JSON with the field names of proto/wire/msg.h: two messages are equal when their
 * texts are, and it is what the vectors show beside the bytes. */
#ifndef WIRE_SAMPLE_H
#define WIRE_SAMPLE_H

#include "base/rng.h"
#include "wire/msg.h"

typedef enum sample_shape {
    SAMPLE_LEAST,   /* zeros and empty lists, wherever they are allowed */
    SAMPLE_TYPICAL, /* what such a message looks like */
    SAMPLE_MOST,    /* the largest numbers, texts of every length class */
    SAMPLE_RANDOM,
} sample_shape_t;

typedef struct sample {
    sample_shape_t shape;
    pst_rng_t rng;
    pst_arena_t *arena; /* of everything a sample points to */
} sample_t;

void sample_route(sample_t *s, pst_route_t *ret);
void sample_headers(sample_t *s, pst_pack_headers_t *ret);
void sample_result_pack(sample_t *s, pst_result_pack_t *ret);
void sample_batch_info(sample_t *s, pst_batch_info_t *ret);
void sample_msg(sample_t *s, pst_msg_type_t type, pst_msg_t *ret);

void dump_route(const pst_route_t *r, pst_buf_t *out);
void dump_headers(const pst_pack_headers_t *h, pst_buf_t *out);
void dump_result_pack(const pst_result_pack_t *p, pst_buf_t *out);
void dump_batch_info(const pst_batch_info_t *i, pst_buf_t *out);
void dump_msg(const pst_msg_t *m, pst_buf_t *out);

/* Every kind of message, and their number. */
extern const uint8_t sample_types[];
extern const unsigned sample_types_n;

#endif
