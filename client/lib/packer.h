/* packer.h - jobs into packs: one open pack for each distinct (url, route), closed when it is full, compressed and
 * handed to a sink, by the call that closed it or, where other threads compress, by a later one; at most PACKS_OPEN_MAX
 * of them open and TEXT_BYTES_MAX of text in those, beyond which the largest is closed.
 * Numbers the packs and cuts the batch into segments by limits.h. */
#ifndef PST_PACKER_H
#define PST_PACKER_H

#include "base/buf.h"
#include "lib/line.h"

typedef struct pst_packer pst_packer_t;

typedef struct pst_pack_out {
    uint32_t segment, pack;
    uint32_t jobs;
    pst_view_t headers, bodies; /* valid during the call */
} pst_pack_out_t;

/* What it returns, if not PST_OK, comes back from the packer's call. */
typedef pst_err_t pst_pack_sink_fn(void *arg, const pst_pack_out_t *pack);

PST_MUSTCHECK pst_err_t pst_packer_new(pst_pack_sink_fn *sink, void *arg, pst_packer_t **ret);
void pst_packer_destroy(pst_packer_t **p);
/* Indexes must rise from call to call.  Copies what it needs. */
PST_MUSTCHECK pst_err_t pst_packer_add(pst_packer_t *p, uint32_t index, const pst_line_job_t *job);
/* A line that is never sent: ends as a failed result. */
PST_MUSTCHECK pst_err_t pst_packer_reject(pst_packer_t *p, uint32_t index, uint32_t line,
                                          const pst_line_fault_t *fault);
/* Closes all that is open, oldest first. */
PST_MUSTCHECK pst_err_t pst_packer_flush(pst_packer_t *p);
uint32_t pst_packer_packs(const pst_packer_t *p); /* handed out so far */
uint32_t pst_packer_jobs(const pst_packer_t *p);  /* in them */

#endif
