/* parts.h - what the files of the gateway share: the gateway itself, and what each gives to the others. */
#ifndef PST_GATEWAY_PARTS_H
#define PST_GATEWAY_PARTS_H

#include "gateway/anthropic.h"
#include "gateway/caller.h"
#include "gateway/gateway.h"
#include "gateway/keys_redis.h"
#include "gateway/reply.h"
#include "lib/line.h"
#include "penstock/penstock.h"

typedef struct pst_importer pst_importer_t;
typedef struct pst_meter pst_meter_t;
typedef struct pst_ui pst_ui_t;
typedef struct pst_watch pst_watch_t;
typedef struct pst_webhooks pst_webhooks_t;

struct pst_gateway {
    pst_loop_t *loop;
    pst_gateway_opts_t opts;
    pst_web_t *web;
    pst_db_t *db;
    pst_remote_t *remote;
    pst_importer_t *importer;
    pst_keys_t *keys;
    pst_keys_redis_t *keys_redis;
    pst_webhooks_t *hooks;
    pst_watch_t *watch;
    pst_meter_t *meter;
    pst_ui_t *ui;
    bool loopback;               /* nobody from elsewhere can ask: keys are needed only where there are some */
    uint64_t started_s;          /* wall clock */
    pst_line_reader_t reader;    /* of the bodies of calls */
    pst_anthropic_t anthropic;   /* of translations, one at a time */
};

static inline pst_gateway_t *pst_gw(const pst_req_t *r) { return r->app; }

#define PST_PATIENCE (10 * PST_SEC) /* with a broker that does not answer */

/* Ids.  "file-" and a ULID's 26 characters; room for "file-output-…". */
#define PST_FILE_TEXT_MAX 48
void pst_file_id_make(char out[PST_FILE_TEXT_MAX]);
bool pst_file_id_ok(pst_view_t id);
/* "file-output-…", "file-errors-…": the batch; false: another file. */
bool pst_output_id_parse(pst_view_t id, pst_id_t *ret_batch, bool *ret_errors);

/* files.c */
void pst_files_create_begin(pst_req_t *r);
void pst_files_create_data(pst_req_t *r, pst_view_t bytes);
void pst_files_create_end(pst_req_t *r);
void pst_files_list(pst_req_t *r);
void pst_files_get(pst_req_t *r);
void pst_files_content(pst_req_t *r);
void pst_files_delete(pst_req_t *r);

/* models.c */
void pst_models_list(pst_req_t *r);
void pst_models_get(pst_req_t *r);
void pst_models_get_of_lab(pst_req_t *r);

/* batches.c, batches_list.c */
void pst_batches_create(pst_req_t *r);
void pst_batches_get(pst_req_t *r);
void pst_batches_list(pst_req_t *r);
void pst_batches_cancel(pst_req_t *r);

/* api_openrouter.c, inlined.c */
void pst_openrouter_create_begin(pst_req_t *r);
void pst_inlined_data(pst_req_t *r, pst_view_t bytes);
void pst_inlined_end(pst_req_t *r);
void pst_openrouter_list(pst_req_t *r);
void pst_openrouter_get(pst_req_t *r);
void pst_openrouter_cancel(pst_req_t *r);

/* api_anthropic.c */
void pst_messages_create(pst_req_t *r);
void pst_messages_count(pst_req_t *r);
void pst_messages_batch_begin(pst_req_t *r);
void pst_messages_batches(pst_req_t *r);
void pst_messages_batch(pst_req_t *r);
void pst_messages_cancel(pst_req_t *r);
void pst_messages_delete(pst_req_t *r);
void pst_messages_results(pst_req_t *r);

/* metrics.c */
void pst_metrics_get(pst_req_t *r);

/* outputs.c: files that are a batch's results. */
void pst_outputs_get(pst_req_t *r, const pst_id_t *batch, bool errors);
void pst_outputs_content(pst_req_t *r, const pst_id_t *batch, bool errors);
void pst_outputs_delete(pst_req_t *r, const pst_id_t *batch, bool errors);

#endif
