#include "redis/cmd.h"

#include <stdio.h>

#define ARGC_ROOM 16 /* for "*<argc>\r\n" */

static pst_cmd_t *cmd_new(pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = pst_calloc(1, sizeof *c);
    pst_link_init(&c->link);
    pst_buf_init(&c->text, 0);
    PST_ASSERT(pst_buf_reserve(&c->text, 512));
    c->text.n = ARGC_ROOM;
    c->fn = fn;
    c->arg = arg;
    return c;
}

pst_cmd_t *pst_cmd_new(const char *name, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = cmd_new(fn, arg);
    pst_cmd_str(c, name);
    return c;
}

static void put_function(pst_cmd_t *c, const char *function, uint32_t keys)
{
    pst_cmd_str(c, function);
    pst_cmd_num(c, keys);
}

pst_cmd_t *pst_cmd_fcall(const char *function, uint32_t keys, pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = pst_cmd_new("FCALL", fn, arg);
    put_function(c, function, keys);
    return c;
}

void pst_cmd_forget(pst_cmd_t *c)
{
    if (c->reply)
        freeReplyObject(c->reply);
    if (c->refusal)
        freeReplyObject(c->refusal);
    c->reply = c->refusal = NULL;
    c->got = 0;
}

void pst_cmd_destroy(pst_cmd_t **c)
{
    pst_cmd_t *x = *c;
    *c = NULL;
    if (!x)
        return;
    pst_link_remove(&x->link);
    for (unsigned i = 0; i < x->chunks; i++) {
        pst_blob_unref(&x->chunk[i].blob);
        free(x->chunk[i].owned);
    }
    pst_cmd_forget(x);
    pst_buf_release(&x->text);
    free(x);
}

/* Writes mark, v, "\r\n" and gives its length; to has room for 24 bytes. */
static size_t header(char *to, char mark, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits, len = 0;
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    to[len++] = mark;
    memcpy(to + len, digits + n, sizeof digits - n);
    len += sizeof digits - n;
    to[len++] = '\r';
    to[len++] = '\n';
    return len;
}

void pst_cmd_arg(pst_cmd_t *c, const void *p, size_t n)
{
    char *to = pst_buf_reserve(&c->text, n + 26);
    PST_ASSERT(to);
    size_t len = header(to, '$', n);
    if (n)
        memcpy(to + len, p, n);
    memcpy(to + len + n, "\r\n", 2);
    c->text.n += len + n + 2;
    c->argc++;
}

void pst_cmd_str(pst_cmd_t *c, const char *s) { pst_cmd_arg(c, s, strlen(s)); }
void pst_cmd_key(pst_cmd_t *c, const pst_redis_key_t *k) { pst_cmd_arg(c, k->p, k->n); }
void pst_cmd_id(pst_cmd_t *c, const pst_id_t *id) { pst_cmd_arg(c, id->b, sizeof id->b); }

void pst_cmd_num(pst_cmd_t *c, uint64_t v)
{
    char digits[20];
    size_t n = sizeof digits;
    do
        digits[--n] = (char)('0' + v % 10);
    while (v /= 10);
    pst_cmd_arg(c, digits + n, sizeof digits - n);
}

/* An argument of n bytes that lie elsewhere. */
static pst_chunk_t *add_chunk(pst_cmd_t *c, const char *p, size_t n)
{
    char head[24];
    pst_buf_put(&c->text, head, header(head, '$', n));
    pst_chunk_t *k = &c->chunk[c->chunks++];
    *k = (pst_chunk_t){.at = c->text.n, .p = p, .n = n};
    pst_buf_put(&c->text, "\r\n", 2);
    c->argc++;
    c->bytes += n;
    return k;
}

void pst_cmd_blob(pst_cmd_t *c, pst_blob_t *b)
{
    pst_view_t v = pst_blob_view(b);
    if (v.n < PST_CMD_CHUNK_BYTES_MIN || c->chunks == PST_CMD_CHUNKS_MAX)
        pst_cmd_arg(c, v.p, v.n);
    else
        add_chunk(c, v.p, v.n)->blob = pst_blob_ref(b);
}

void pst_cmd_buf(pst_cmd_t *c, pst_buf_t *b)
{
    PST_ASSERT(!b->failed);
    if (b->n < PST_CMD_CHUNK_BYTES_MIN || c->chunks == PST_CMD_CHUNKS_MAX) {
        pst_cmd_arg(c, b->p, b->n);
        pst_buf_release(b);
        return;
    }
    size_t n;
    char *p = pst_buf_detach(b, &n);
    add_chunk(c, p, n)->owned = p;
}

void pst_cmd_finish(pst_cmd_t *c)
{
    PST_ASSERT(!c->text.failed);
    if (c->group) {
        c->exec_at = c->text.n;
        pst_cmd_begin(c, "EXEC", 0);
        c->begin = 0;
        c->bytes += c->text.n;
        return;
    }
    char head[24];
    size_t n = header(head, '*', c->argc);
    PST_ASSERT(n <= ARGC_ROOM);
    c->begin = ARGC_ROOM - n;
    memcpy(c->text.p + c->begin, head, n);
    c->bytes += c->text.n - c->begin;
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

void pst_cmd_begin(pst_cmd_t *c, const char *name, uint32_t args)
{
    char head[24];
    pst_buf_put(&c->text, head, header(head, '*', (uint64_t)args + 1));
    pst_cmd_str(c, name);
}

pst_cmd_t *pst_cmd_group(pst_cmd_fn *fn, void *arg)
{
    pst_cmd_t *c = cmd_new(fn, arg);
    c->group = true;
    c->text.n = 0;
    pst_cmd_begin(c, "MULTI", 0);
    return c;
}

void pst_cmd_call(pst_cmd_t *c, const char *function, uint32_t keys, uint32_t args)
{
    PST_ASSERT(c->group);
    c->call_at = c->text.n;
    pst_cmd_begin(c, "FCALL", 2 + keys + args);
    put_function(c, function, keys);
}

static const char hole[] = "$0\r\n\r\n";
#define HOLE_BYTES (sizeof hole - 1)

void pst_cmd_hole(pst_cmd_t *c)
{
    c->hole_at = c->text.n;
    pst_buf_puts(&c->text, hole);
}

void pst_cmd_ungroup(pst_cmd_t *c)
{
    PST_ASSERT(c->group && c->hole_at && c->chunks == 1);
    pst_buf_t b;
    char head[24];
    pst_buf_init(&b, 0);
    pst_buf_put(&b, c->text.p + c->call_at, c->hole_at - c->call_at);
    pst_buf_put(&b, head, header(head, '$', c->chunk[0].n));
    c->chunk[0].at = b.n;
    pst_buf_puts(&b, "\r\n");
    size_t rest = c->hole_at + HOLE_BYTES;
    pst_buf_put(&b, c->text.p + rest, c->exec_at - rest);
    PST_ASSERT(!b.failed);
    pst_buf_release(&c->text);
    c->text = b;
    c->bytes = b.n + c->chunk[0].n;
    c->group = false;
}

const redisReply *pst_cmd_result(const pst_cmd_t *c, const redisReply *r)
{
    if (!c->group)
        return r;
    if (c->refusal)
        return c->refusal;
    return r->type == REDIS_REPLY_ARRAY && r->elements == 2 ? r->element[1] : r;
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

static unsigned add_part(struct iovec *v, unsigned n, const char *p, size_t len, size_t *skip)
{
    if (len <= *skip) {
        *skip -= len;
        return n;
    }
    v[n] = (struct iovec){.iov_base = (char *)(uintptr_t)p + *skip, .iov_len = len - *skip};
    *skip = 0;
    return n + 1;
}

unsigned pst_cmd_iov(const pst_cmd_t *c, size_t off, struct iovec *v, unsigned max)
{
    unsigned n = 0;
    size_t at = c->begin;
    for (unsigned i = 0; i < c->chunks && n < max; i++) {
        n = add_part(v, n, c->text.p + at, c->chunk[i].at - at, &off);
        at = c->chunk[i].at;
        if (n < max)
            n = add_part(v, n, c->chunk[i].p, c->chunk[i].n, &off);
        else
            return n;
    }
    return n < max ? add_part(v, n, c->text.p + at, c->text.n - at, &off) : n;
}
