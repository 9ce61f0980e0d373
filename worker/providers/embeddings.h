/* embeddings.h - vectors in base64, where a body asked for them so and the host gave numbers.
 *
 * OpenAI's SDK for Node asks for base64 unless it is told otherwise, and its older versions decode what comes whatever it is: a
 * list of numbers becomes a vector of nonsense, without an error.  Pure. */
#ifndef PST_PROVIDERS_EMBEDDINGS_H
#define PST_PROVIDERS_EMBEDDINGS_H

#include "provider.h"

/* Of a reading that is DONE: each list of numbers becomes the base64 of its 32-bit floats, little-endian, in the arena.  What is
 * no such list stays as it is. */
void pst_embeddings_pack(pst_arena_t *a, pst_reading_t *r);

#endif
