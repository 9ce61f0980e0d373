/* trouble.h - why there is no answer: a cause, and words for whoever has to mend it.
 *
 *   nothing was sent   the name does not resolve | nobody listens there, or is on the way | TLS fails | nobody is trusted
 *   it was             the connection was cut | time is over | what came is not understood, or too much
 *
 * The words name hosts, never keys: they become a result's message and a line of the log.
 *
 * Pure: no clock, no I/O. */
#ifndef PST_HTTP_TROUBLE_H
#define PST_HTTP_TROUBLE_H

#include <curl/curl.h>

#include "base/base.h"
#include "penstock/job.h"

#define PST_TROUBLE_TEXT_MAX 384

typedef struct pst_trouble {
    pst_cause_t cause;
    char text[PST_TROUBLE_TEXT_MAX];
} pst_trouble_t;

/* What curl ended with, where it is not CURLE_OK or what came is no answer.  said: its error buffer. */
void pst_trouble_of_curl(pst_trouble_t *ret, CURL *easy, CURLcode code, const char *said);
void pst_trouble_too_large(pst_trouble_t *ret);
void pst_trouble_cut(pst_trouble_t *ret, size_t bytes); /* bytes: of the answer, that had come */
void pst_trouble_packed(pst_trouble_t *ret);
void pst_trouble_not_http(pst_trouble_t *ret);
/* It had begun, and then nothing more came. */
void pst_trouble_stalled(pst_trouble_t *ret, size_t bytes, pst_ns_t idle);
/* What curl's answer has: header lines and body. */
size_t pst_trouble_bytes(CURL *easy);
/* The time of a whole call is over.  connected: it has been sent, or some of it. */
void pst_trouble_late(pst_trouble_t *ret, bool connected, size_t bytes);

#endif
