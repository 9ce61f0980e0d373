/* file.h - an uploaded file as it lies in Redis: a hash beside its pieces (text.h). */
#ifndef PST_GATEWAY_FILE_H
#define PST_GATEWAY_FILE_H

#include "gateway/db.h"

#define PST_FILE_FIELDS 7
/* Of the hash, in the order that pst_file_read takes them in. */
extern const char *const pst_file_fields[PST_FILE_FIELDS];
/* Asks for them; not sent yet. */
pst_cmd_t *pst_file_cmd(const char *id, pst_cmd_fn *fn, void *arg);

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
