/* import.h - uploaded files into batches.
 *
 * A batch that was asked for stands in `imports` until its file was read.  A gateway takes those that nobody has the lease of,
 * and renews its leases from the loop; threads read the pieces and submit them with libpenstock, under the batch's own id, so
 * that a second reading begins anew what a first one left (penstock.h: pst_submit_opts_t.batch).
 *
 *   loop ──ids──► threads         over socket pairs: nothing is shared but the configuration
 *        ◄──ids──   (done, or to be taken up again when the lease is free) */
#ifndef PST_GATEWAY_IMPORT_H
#define PST_GATEWAY_IMPORT_H

#include "gateway/db.h"

typedef struct pst_importer pst_importer_t;

typedef struct pst_importer_opts {
    const char *broker, *redis;
    uint32_t line_bytes_max, prefix_bytes_max, prefix_bytes_min; /* as pst_client_opts_t */
} pst_importer_opts_t;

PST_MUSTCHECK pst_err_t pst_importer_new(pst_loop_t *loop, pst_db_t *db, const pst_importer_opts_t *o, pst_importer_t **ret,
                                         pst_errbuf_t *eb);
/* Waits for what the threads are doing to break off, at the next piece of a file; another gateway, or the next, begins it anew. */
void pst_importer_destroy(pst_importer_t **i);
/* There is a new one in `imports`: look at once. */
void pst_importer_look(pst_importer_t *i);

#endif
