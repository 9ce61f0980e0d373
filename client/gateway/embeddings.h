/* embeddings.h - vectors in base64, where a client asked for them so and the provider gave numbers.
 *
 * OpenAI's SDK for Node asks for base64 unless it is told otherwise, and its older versions decode what comes whatever it is: a
 * list of numbers becomes a vector of nonsense, without an error.  Hosts that know the parameter do it themselves.  Pure. */
#ifndef PST_GATEWAY_EMBEDDINGS_H
#define PST_GATEWAY_EMBEDDINGS_H

#include "base/json.h"

/* An answer of /v1/embeddings with each list of numbers as base64 of its 32-bit floats, little-endian; what is no such list stays
 * as it is.  PST_E_INVALID: it is no JSON; PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_embeddings_pack(pst_view_t answer, pst_buf_t *out);

#endif
