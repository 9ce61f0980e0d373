/* output.h - where result lines go: standard output or a file, buffered, flushed when there is a pause. */
#ifndef PST_OUTPUT_H
#define PST_OUTPUT_H

#include "cli/cli.h"

typedef struct pst_output {
    FILE *f;
    const char *path; /* NULL: standard output */
    bool closed;      /* whoever read standard output has gone: end quietly */
} pst_output_t;

/* path NULL: standard output.  A file that is there is replaced.  EXIT_WELL, or says why not. */
int pst_output_open(pst_output_t *o, const char *path);
int pst_output_line(pst_output_t *o, pst_view_t line); /* a newline is added */
int pst_output_flush(pst_output_t *o);
int pst_output_close(pst_output_t *o);

#endif
