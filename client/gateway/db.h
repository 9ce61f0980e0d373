/* db.h - what the gateway keeps in Redis: the connection, on the loop, and the names of its keys.
 *
 *   pst:{gateway}:files:<tenant>          sorted set: ids of files by the millisecond they were made
 *   pst:{gateway}:file:<id>               hash: a file (files.c); expires with it
 *   pst:{gateway}:text:<id>:<n>           string: n-th piece of its text (text.h); expires with it
 *   pst:{gateway}:batches:<tenant>        sorted set: ids of batches made over HTTP by the millisecond they were made
 *   pst:{gateway}:lone:<tenant>           of these, those that the broker does not have: not yet, or never; those of all tenants
 *                                         stand in that of "" too
 *   pst:{gateway}:batch:<id>              hash: what a batch was made of (record.h)
 *   pst:{gateway}:imports                 sorted set: batches whose file is still to be read, by that millisecond
 *   pst:{gateway}:watched:                sorted set: batches whose end somebody is to be told of, or is to pay for (watch.h)
 *   pst:{gateway}:lease:<id>              string: the gateway that reads it; expires unless renewed
 *   pst:{gateway}:idem:<hash>             string: what an Idempotency-Key made; expires after a day
 *   pst:{gateway}:keys and :use:…         keys, and what was done with them (key.h)
 * One tag: all of it lies on one node of a cluster, beside what the broker keeps.  A gateway that ends loses nothing. */
#ifndef PST_GATEWAY_DB_H
#define PST_GATEWAY_DB_H

#include "base/base.h"
#include "redis/conn.h"

typedef struct pst_db pst_db_t;

/* Connects as soon as the loop runs.  PST_E_CONFIG: no such url. */
PST_MUSTCHECK pst_err_t pst_db_new(pst_loop_t *loop, const char *url, pst_db_t **ret, pst_errbuf_t *eb);
void pst_db_destroy(pst_db_t **db); /* what is unanswered is dropped without a call */
/* For parts that have commands of their own. */
pst_redis_t *pst_db_conn(pst_db_t *db);
bool pst_db_is_up(const pst_db_t *db);
/* More than a share of maxmemory is in use: what is uploaded would take the room of results. */
bool pst_db_is_full(const pst_db_t *db);

/* A command, to which arguments are added with pst_cmd_…; fn gets the reply, NULL if the connection was lost meanwhile (then
 * it is not known whether it was carried out), and finds `arg` in the command.  fn NULL: nobody waits. */
pst_cmd_t *pst_db_cmd(const char *name, pst_cmd_fn *fn, void *arg);
/* Takes it.  Sent by pst_db_flush, which the gateway calls at the end of each turn of the loop; commands take effect in the order they were given. */
void pst_db_send(pst_db_t *db, pst_cmd_t *cmd);
void pst_db_flush(pst_db_t *db);

/* Commands that several parts have, not sent yet: so many fields of a hash; a member into a sorted set, out of it; a lease for
 * `holder`, only if nobody has it, or (again) in any case. */
pst_cmd_t *pst_db_fields(const char *what, const char *of, const char *const *fields, size_t n, pst_cmd_fn *fn, void *arg);
pst_cmd_t *pst_db_add(const char *set, const char *of, uint64_t score, const char *member);
pst_cmd_t *pst_db_drop(const char *set, const char *of, const char *member, pst_cmd_fn *fn, void *arg);
pst_cmd_t *pst_db_lease(const char *of, const char *holder, uint32_t ms, bool if_free, pst_cmd_fn *fn, void *arg);

/* Names; a NULL or empty tenant is nobody's. */
void pst_db_key(pst_redis_key_t *k, const char *what, const char *of);
void pst_db_key_piece(pst_redis_key_t *k, const char *file, uint32_t n);

#endif
