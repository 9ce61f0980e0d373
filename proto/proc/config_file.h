/* config_file.h - between the files (config_file.c) and what is made of them (config.c).  Private to proc. */
#ifndef PST_CONFIG_FILE_H
#define PST_CONFIG_FILE_H

#include "proc/config.h"

typedef struct pst_config_source {
    pst_view_t text;  /* may be empty */
    const char *name; /* in findings */
    const char *path; /* NULL: no file */
} pst_config_source_t;

PST_MUSTCHECK pst_err_t pst_config_build(const pst_config_source_t *user, const pst_config_source_t *catalog,
                                         pst_config_t **ret, pst_config_errors_t *errors);

/* The value of the variable in "${VAR}"; NULL if ref is none (or NULL), or it is not set or empty. */
const char *pst_config_getenv(const char *ref);

#endif
