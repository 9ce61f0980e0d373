/* page.h - the files of the page that the gateway serves, as the build embedded them (page/, page_embed.cmake). */
#ifndef PST_PAGE_H
#define PST_PAGE_H

#include "penstock/view.h"

typedef struct pst_page_file {
    pst_view_t path;          /* as in the request: "/", "/ui/page.css" */
    const char *content_type;
    const char *etag;         /* with its quotes; another one as soon as a byte is another */
    pst_view_t bytes;
} pst_page_file_t;

/* What the page may do, and with whom: only what comes from the gateway itself, nothing inline. */
#define PST_PAGE_POLICY                                                                            \
    "default-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "              \
    "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"

/* The table that page_embed.cmake writes. */
extern const pst_page_file_t pst_page_files[];
extern const size_t pst_page_files_n;

/* NULL if the page has no such file.  What it points to lives as long as the program. */
const pst_page_file_t *pst_page_find(pst_view_t path);

#endif
