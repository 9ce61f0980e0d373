/* table.h - a table for people that fits a width: columns are narrowed, then dropped, and never wrapped.
 * Names come from strangers: what a terminal would obey, or show as something else, becomes '?'.  Pure. */
#ifndef PST_TABLE_H
#define PST_TABLE_H

#include "base/buf.h"

#define PST_TABLE_COLUMNS_MAX 16

typedef struct pst_column {
    const char *title;
    uint8_t drop;  /* 0: stays.  Of the others the one with the highest goes first where there is no room for all */
    uint8_t least; /* may be narrowed to so many characters, before any is dropped; 0: may not */
    bool left;     /* of text; else to the right, as numbers are */
} pst_column_t;

typedef struct pst_table {
    const pst_column_t *column; /* borrowed */
    unsigned columns;
    pst_buf_t cells;            /* safe to show, row by row, each ended by a NUL */
    unsigned cells_n;
} pst_table_t;

void pst_table_init(pst_table_t *t, const pst_column_t *column, unsigned columns);
void pst_table_release(pst_table_t *t);
/* The next cell. */
void pst_table_cell(pst_table_t *t, const char *fmt, ...) PST_PRINTF(2, 3);
unsigned pst_table_rows(const pst_table_t *t);
/* Appends the titles and at most `rows` rows.  width 0: as wide as it would be; bold: the titles, on a terminal. */
void pst_table_put(const pst_table_t *t, unsigned width, unsigned rows, bool bold, pst_buf_t *out);
/* Writes all of it to standard output, as wide as it is. */
void pst_table_print(const pst_table_t *t);
/* Appends one line of text, as safe, and cut. */
void pst_table_line(pst_buf_t *out, unsigned width, bool bold, const char *fmt, ...) PST_PRINTF(4, 5);

#endif
