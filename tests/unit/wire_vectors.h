/* wire_vectors.h - the contents of proto/vectors: made by wire_vectors_main.c, compared by
 * wire_vectors_test.c. */
#ifndef WIRE_VECTORS_H
#define WIRE_VECTORS_H

#include "wire_kind.h"

/* A JSON array of vectors of this kind: {name, hex, fields}, and "encode": false for bytes that
 * decode to these fields, but that an encoder would write otherwise. */
void vectors_good(const kind_t *k, pst_buf_t *out);
/* A JSON array of {name, kind, hex, error}. */
void vectors_bad(pst_buf_t *out);

/* All of them as bytes, without the duplicates that only differ in what a vector shows: where a
 * fuzzer starts. */
typedef void vector_fn(void *context, const char *kind, const char *name, pst_view_t bytes);
void vectors_each(vector_fn *f, void *context);

#endif
