/* file.h - an uploaded file as it lies in Redis: a hash beside its pieces (text.h). */
#ifndef PST_GATEWAY_FILE_H
#define PST_GATEWAY_FILE_H

#include <hiredis/hiredis.h>

#include "base/buf.h"

/* Fields of the hash, in the order that pst_file_read takes them in. */
#define PST_FILE_FIELDS "bytes", "pieces", "created_ms", "expires_ms", "tenant", "filename", "purpose"
#define PST_FILE_FIELDS_N 7

typedef struct pst_file {
    uint64_t bytes;
    uint32_t pieces;
    uint64_t created_ms, expires_ms; /* wall clock; expires 0: never */
    char tenant[257], filename[257], purpose[33];
} pst_file_t;

/* The answer to HMGET of those fields; false: no such file (any more). */
bool pst_file_read(const redisReply *r, pst_file_t *ret);
/* OpenAI's file object. */
void pst_file_put_json(pst_buf_t *b, const char *id, const pst_file_t *f);

#endif
