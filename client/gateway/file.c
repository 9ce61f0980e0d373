#include "gateway/file.h"

#include <stdio.h>

#include "base/json.h"
#include "lib/text.h"

const char *const pst_file_fields[PST_FILE_FIELDS] = {"bytes", "pieces", "created_ms", "expires_ms", "tenant", "filename",
                                                      "purpose"};

pst_cmd_t *pst_file_cmd(const char *id, pst_cmd_fn *fn, void *arg)
{
    return pst_db_fields("file", id, pst_file_fields, PST_FILE_FIELDS, fn, arg);
}

static uint64_t number(const redisReply *r)
{
    return r->type == REDIS_REPLY_STRING ? strtoull(r->str, NULL, 10) : 0;
}

static void copy(char *to, size_t room, const redisReply *r)
{
    snprintf(to, room, "%s", r->type == REDIS_REPLY_STRING ? r->str : "");
}

bool pst_file_read(const redisReply *r, pst_file_t *ret)
{
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != PST_FILE_FIELDS ||
        r->element[0]->type != REDIS_REPLY_STRING)
        return false;
    redisReply *const *e = r->element;
    *ret = (pst_file_t){.bytes = number(e[0]), .pieces = (uint32_t)number(e[1]), .created_ms = number(e[2]),
                        .expires_ms = number(e[3])};
    copy(ret->tenant, sizeof ret->tenant, e[4]);
    copy(ret->filename, sizeof ret->filename, e[5]);
    copy(ret->purpose, sizeof ret->purpose, e[6]);
    return true;
}

void pst_file_put_json(pst_buf_t *b, const char *id, const pst_file_t *f)
{
    pst_buf_putc(b, '{');
    pst_member_str(b, "id", id);
    pst_member_str(b, "object", "file");
    pst_member_uint(b, "bytes", f->bytes);
    pst_member_uint(b, "created_at", f->created_ms / 1000);
    if (f->expires_ms)
        pst_member_uint(b, "expires_at", f->expires_ms / 1000);
    pst_member_str(b, "filename", f->filename);
    pst_member_str(b, "purpose", f->purpose);
    pst_member_str(b, "status", "processed");
    pst_member_str(b, "status_details", NULL);
    pst_buf_putc(b, '}');
}
