/* top.h - the cluster as the library shows it, for those who ask the broker in their own way. */
#ifndef PST_TOP_H
#define PST_TOP_H

#include "base/buf.h"
#include "penstock/penstock.h"
#include "wire/msg.h"

/* A copy with memory of its own, for pst_top_release. */
PST_MUSTCHECK pst_err_t pst_top_copy(const pst_cluster_t *c, pst_top_t *ret);
/* The object of pst_top_json, appended. */
void pst_top_put_json(pst_buf_t *b, const pst_top_t *t);

#endif
