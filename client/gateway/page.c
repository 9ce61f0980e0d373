/* page.c - finding the page's files. */
#include "gateway/page.h"

const pst_page_file_t *pst_page_find(pst_view_t path)
{
    for (size_t i = 0; i < pst_page_files_n; i++) {
        if (pst_view_eq(pst_page_files[i].path, path))
            return &pst_page_files[i];
    }
    return NULL;
}
