/* import_one.h - one file into one batch, read and submitted by a thread of its own connections. */
#ifndef PST_GATEWAY_IMPORT_ONE_H
#define PST_GATEWAY_IMPORT_ONE_H

#include <stdatomic.h>

#include "gateway/import.h"

typedef struct pst_import_one pst_import_one_t;

/* NULL: out of memory.  stopping, once true, breaks a run off. */
pst_import_one_t *pst_import_one_new(const pst_importer_opts_t *o, const atomic_bool *stopping);
void pst_import_one_destroy(pst_import_one_t **i);
/* Blocks.  The batch's record says afterwards what became of it; where it still says "validating" something was away, and it is
 * to be run again. */
void pst_import_one_run(pst_import_one_t *i, const char *batch);

#endif
