/* keys.h - what the parts of `penstock keys` share: the records, as Redis has them (gateway/key.h). */
#ifndef PST_CLI_KEYS_H
#define PST_CLI_KEYS_H

#include "cli/redis_ask.h"
#include "gateway/key.h"

typedef struct pst_cli_key {
    char hex[PST_KEY_HEX_LEN + 1];
    pst_key_t key;
} pst_cli_key_t;

typedef struct pst_cli_keys {
    pst_cli_key_t *v; /* oldest first */
    size_t n, cap;
    unsigned bad;     /* records that are none */
} pst_cli_keys_t;

/* All of them.  EXIT_WELL, or says why not. */
int pst_cli_keys_read(redisContext *c, pst_cli_keys_t *ret);
void pst_cli_keys_release(pst_cli_keys_t *k);

/* What the options of `create` and `update` say, put into a key.  EXIT_WELL, or EXIT_USAGE with a message. */
int pst_cli_keys_options(const pst_cli_args_t *a, uint64_t wall_ms, pst_key_t *k);

/* `penstock keys list`: with what each key has spent. */
int pst_cli_keys_list(redisContext *c, const pst_cli_keys_t *k, bool json);

#endif
