/* cmd.h - one command on its way to Redis: its bytes, kept until it is answered, and who waits for it.
 *
 * A pack's blobs are not copied into the command: it holds a reference and the connection writes them in place. */
#ifndef PST_REDIS_CMD_H
#define PST_REDIS_CMD_H

#include <hiredis/hiredis.h>
#include <sys/uio.h>

#include "base/blob.h"
#include "base/buf.h"
#include "base/list.h"
#include "penstock/id.h"

/* A key's name.  Longest: a rate budget, "<provider>/<model>", both of at most PST_NAME_BYTES_MAX. */
typedef struct pst_redis_key {
    char p[640];
    size_t n;
} pst_redis_key_t;

typedef struct pst_cmd pst_cmd_t;
/* The reply lives during the call.  NULL: the connection was lost (only a command that is not repeated sees that). */
typedef void pst_cmd_fn(pst_cmd_t *c, const redisReply *r);

#define PST_CMD_CHUNKS_MAX 4
#define PST_CMD_CHUNK_BYTES_MIN 4096u /* smaller arguments are copied: cheaper than another part in writev */
#define PST_CMD_GROUP_REPLIES 4       /* of MULTI, the two commands in it (QUEUED), EXEC */

typedef struct pst_chunk { /* bytes that stand in the command after text[at] */
    size_t at, n;
    const char *p;
    pst_blob_t *blob; /* owner, or */
    char *owned;      /* malloc'd */
} pst_chunk_t;

struct pst_cmd {
    pst_link_t link;
    pst_buf_t text;
    size_t begin;      /* text starts there: the number of arguments is written in front at last */
    size_t bytes;      /* all of it */
    uint32_t argc;
    unsigned chunks;
    pst_chunk_t chunk[PST_CMD_CHUNKS_MAX];
    bool write;        /* with replicated durability its answer waits for the replica */
    bool once;         /* not repeated after a lost connection */
    bool group;        /* MULTI, a SET, a call, EXEC: answered by four replies */
    unsigned got;      /* so many of them came; */
    redisReply *refusal; /* the first that was an error */
    size_t call_at, hole_at, exec_at; /* in text: the call, its empty argument (0: none), EXEC */
    redisReply *reply; /* answered, held back until a replica has it */
    pst_cmd_fn *fn;
    void *arg;
    uint64_t token;    /* for fn */
    unsigned op;       /* for fn */
};

pst_cmd_t *pst_cmd_new(const char *name, pst_cmd_fn *fn, void *arg);
/* FCALL of a function, by its whole name; keys come first, then arguments. */
pst_cmd_t *pst_cmd_fcall(const char *function, uint32_t keys, pst_cmd_fn *fn, void *arg);
/* A transaction: first pst_cmd_begin and the arguments of a command that stores something large, then pst_cmd_call and
 * the keys and arguments of a function. */
pst_cmd_t *pst_cmd_group(pst_cmd_fn *fn, void *arg);
void pst_cmd_begin(pst_cmd_t *c, const char *name, uint32_t args);
void pst_cmd_call(pst_cmd_t *c, const char *function, uint32_t keys, uint32_t args);
/* An empty argument of the call, which pst_cmd_ungroup replaces by the large one. */
void pst_cmd_hole(pst_cmd_t *c);
/* Makes the call alone of a finished transaction with a hole: a full Redis takes no SET, but a function that may. */
void pst_cmd_ungroup(pst_cmd_t *c);
/* What the last reply (of a group: to EXEC) says of the command: lives as long as r and c. */
const redisReply *pst_cmd_result(const pst_cmd_t *c, const redisReply *r);
/* What was answered before belongs to a connection that is gone. */
void pst_cmd_forget(pst_cmd_t *c);
void pst_cmd_destroy(pst_cmd_t **c);
void pst_cmd_arg(pst_cmd_t *c, const void *p, size_t n);
void pst_cmd_str(pst_cmd_t *c, const char *s);
void pst_cmd_num(pst_cmd_t *c, uint64_t v);
void pst_cmd_key(pst_cmd_t *c, const pst_redis_key_t *k);
void pst_cmd_id(pst_cmd_t *c, const pst_id_t *id); /* its 16 bytes */
void pst_cmd_blob(pst_cmd_t *c, pst_blob_t *b);    /* takes a reference; NULL: an empty argument */
void pst_cmd_buf(pst_cmd_t *c, pst_buf_t *b);      /* takes the buffer's memory */
/* No more arguments follow. */
void pst_cmd_finish(pst_cmd_t *c);
/* The parts of the finished command from byte `off` on, at most max of them. */
unsigned pst_cmd_iov(const pst_cmd_t *c, size_t off, struct iovec *v, unsigned max);

#endif
