/* call.h - what the two ways of making a call have in common: curl.h, h1.h. */
#ifndef PST_HTTP_CALL_H
#define PST_HTTP_CALL_H

#include "http/http.h"

/* The first thing in a call of either. */
struct pst_http_call {
    bool h1;
};

/* Who is told of it. */
typedef struct pst_http_back {
    pst_http_part_fn *part; /* NULL: the body is wanted as a whole */
    pst_http_done_fn *done;
    void *arg;
} pst_http_back_t;

/* Calls that end before any of them is told so: reading answers and making something of them are each as much code
 * as the nearest cache holds, and more answers are more data than the next one holds. */
#define PST_HTTP_REPORT_CALLS 32

#endif
