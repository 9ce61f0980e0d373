/* cli.h - what the commands of `penstock` share: their arguments, exit codes, messages, the connection. */
#ifndef PST_CLI_H
#define PST_CLI_H

#include <stdio.h>

#include "base/base.h"
#include "penstock/penstock.h"
#include "proc/config.h"

/* PRODUCT.md section 4. */
enum {
    EXIT_WELL = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_JOBS_FAILED = 3,
    EXIT_REFUSED = 4,
    EXIT_NOT_FOUND = 5,
};

/* Options of all commands; a command takes those of its list. */
typedef struct pst_cli_args {
    const char *broker, *config;
    const char *data;                                     /* up, keys */
    const char *listen, *redis;                           /* gateway; redis: keys too */
    const char *output, *name, *priority, *window, *max_cost, *key, *model, *tenant; /* submit */
    const char *limit, *after;                            /* list */
    const char *system, *max_tokens, *timeout;            /* try */
    const char *rpm, *tpm, *concurrency, *spend, *reset, *models, *providers, *expires; /* keys */
    bool wait, skip_invalid, json, follow, in_order, errors;
    const char *operand[2];
    int operands;
} pst_cli_args_t;

/* One a command: its exit code. */
int pst_cli_up(const pst_cli_args_t *a);
int pst_cli_gateway(const pst_cli_args_t *a);
int pst_cli_try(const pst_cli_args_t *a);
int pst_cli_submit(const pst_cli_args_t *a);
int pst_cli_status(const pst_cli_args_t *a);
int pst_cli_list(const pst_cli_args_t *a);
int pst_cli_watch(const pst_cli_args_t *a);
int pst_cli_results(const pst_cli_args_t *a);
int pst_cli_get(const pst_cli_args_t *a);
int pst_cli_receipt(const pst_cli_args_t *a);
int pst_cli_cancel(const pst_cli_args_t *a);
int pst_cli_delete(const pst_cli_args_t *a);
int pst_cli_top(const pst_cli_args_t *a);
int pst_cli_check(const pst_cli_args_t *a);
int pst_cli_catalog(const pst_cli_args_t *a);
int pst_cli_keys(const pst_cli_args_t *a);

/* "penstock: …" and a newline on stderr, below a progress bar if there is one. */
void pst_cli_say(const char *fmt, ...) PST_PRINTF(1, 2);
/* The same; returns `code`, so that a caller can `return pst_cli_fail(…)`. */
int pst_cli_fail(int code, const char *fmt, ...) PST_PRINTF(2, 3);
/* The words of a client's error, and the exit code that goes with it. */
int pst_cli_fail_client(const pst_client_t *c, pst_err_t e);
/* Flushes stdout: EXIT_WELL, also where the reader has gone; EXIT_FAILED with a message if it cannot be written. */
int pst_cli_end_stdout(void);

/* Reads the configuration of --config or the usual places; on errors prints them. EXIT_WELL or EXIT_FAILED. */
int pst_cli_config(const pst_cli_args_t *a, pst_config_t **ret);
/* A handle on the broker of --broker, $PENSTOCK_BROKER, the configuration, or the default.  EXIT_WELL, or says why
 * not. */
int pst_cli_connect(const pst_cli_args_t *a, pst_client_t **ret);
/* The same, for calls that wait only so long; and with a configuration that was read already. */
int pst_cli_connect_within(const pst_cli_args_t *a, uint32_t timeout_ms, pst_client_t **ret);
int pst_cli_connect_by(const pst_cli_args_t *a, const pst_config_t *config, uint32_t timeout_ms, pst_client_t **ret);
/* Where to connect to what is bound to `address`: any interface is also this one. */
const char *pst_cli_reachable(const char *address, char *to, size_t room);
/* The batch that the first operand names: EXIT_WELL, or EXIT_USAGE with a message if it is no id. */
int pst_cli_batch_id(const pst_cli_args_t *a, pst_id_t *ret);

/* Jobs that have ended, one way or another. */
uint64_t pst_cli_done(const pst_batch_t *b);
/* Whether something can be redrawn in place there. */
bool pst_cli_is_terminal(int fd);
/* Its size, or that of the oldest terminals. */
void pst_cli_screen(int fd, int *ret_rows, int *ret_columns);
/* Prints the JSON that a library call gave, and frees it. */
int pst_cli_print_json(pst_err_t e, char *text);

/* Texts, in a buffer of the caller. */
typedef struct pst_cli_text {
    char s[48];
} pst_cli_text_t;
const char *pst_cli_count(pst_cli_text_t *t, uint64_t n);          /* 1,234,567 */
const char *pst_cli_usd(pst_cli_text_t *t, double usd);            /* $0.0123 */
const char *pst_cli_time(pst_cli_text_t *t, uint64_t wall_ms);     /* 2026-11-22 15:04:05, local */
const char *pst_cli_span(pst_cli_text_t *t, uint64_t s);           /* 3d04h, 1h02m, 2m05s, 12s */
/* How long so many jobs take at so many a second; "?". */
const char *pst_cli_left(pst_cli_text_t *t, uint64_t jobs, double rate);
/* "90", "30s", "10m", "24h", "7d" as seconds, at least one; false for anything else. */
bool pst_cli_parse_span(const char *text, uint64_t *ret_s);

#endif
