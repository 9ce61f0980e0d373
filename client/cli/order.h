/* order.h - result lines in the order of the input, whatever their number and size: lines go to a temporary file as
 * they come, and only where each begins is kept, 8 bytes a job. */
#ifndef PST_ORDER_H
#define PST_ORDER_H

#include "cli/output.h"

typedef struct pst_order pst_order_t;

/* jobs: indexes are below it.  EXIT_WELL, or says why not. */
int pst_order_new(uint64_t jobs, pst_order_t **ret);
void pst_order_destroy(pst_order_t **o);
int pst_order_add(pst_order_t *o, uint32_t index, pst_view_t line);
/* All lines, lowest index first. */
int pst_order_write(pst_order_t *o, pst_output_t *out);

#endif
