/* prom.h - Prometheus' text format 0.0.4, appended to a buffer: for each metric its head, then its samples, each a name,
 * labels, and a value. */
#ifndef PST_PROM_H
#define PST_PROM_H

#include "base/buf.h"

#define PST_PROM_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* type: "counter", "gauge", "histogram". */
void pst_prom_head(pst_buf_t *b, const char *name, const char *type, const char *help);
void pst_prom_name(pst_buf_t *b, const char *name);
void pst_prom_label(pst_buf_t *b, const char *name, pst_view_t value);
void pst_prom_uint(pst_buf_t *b, uint64_t value);
void pst_prom_num(pst_buf_t *b, double value);
/* A metric of one sample without labels. */
void pst_prom_one(pst_buf_t *b, const char *name, const char *type, const char *help, double value);

#endif
