/* openrouter.h - OpenRouter's Batch API: its requests as lines of our input, our batches and results as its objects.
 *
 * What it takes: {"endpoint","model","provider"?,"completion_window"?,"callback_url"?,"metadata"?,"requests":[{"custom_id",
 * "body"},…]}.  inline.h reads that; members come in any order here.  What we take beyond it: bodies with models of
 * their own (OpenRouter refuses one that is not the batch's), any completion window, metadata, no model at all where
 * every body names one.  A model's suffix `:batch`, which OpenRouter demands, is dropped: all models are batch models here.
 *
 * An element is read with the batch's model and routing wishes put into its body, and written as a line for
 * pst_submit_write; whatever is wrong with it is found there, named by the line, which is the element's index + 1.  A
 * batch for /v1/messages has bodies in Anthropic's form: the caller translates them between the two steps.
 *
 * What it answers: the batch with `results` inline, null in lists and right after the submission.  OpenRouter gives results
 * of an ended batch only; ours are there while it runs.  Each has a response or an error, never both.  Of the counts,
 * `failed` is every request without a response, so that it is the number of errors among the results and, in the end,
 * completed + failed = total; `expired` and `cancelled` say how many of them were never answered for these reasons.
 *
 * Pure but for memory. */
#ifndef PST_OPENROUTER_H
#define PST_OPENROUTER_H

#include "base/arena.h"
#include "base/json.h"
#include "gateway/inline.h"
#include "penstock/penstock.h"

#define PST_OPENROUTER_ARRAY "requests"
#define PST_OPENROUTER_MESSAGES "/v1/messages" /* the endpoint whose bodies, and answers, are Anthropic's */

/* What a submission says beside its requests.  The views lie in the arena, or in the reader. */
typedef struct pst_openrouter_submit {
    pst_view_t endpoint;      /* an API of ours, or /v1/messages */
    pst_view_t model;         /* for bodies that name none; empty: none */
    pst_view_t provider;      /* routing wishes for bodies that have none, a JSON object; empty: none */
    pst_view_t callback_url;  /* empty: none.  Not checked */
    pst_view_t metadata;      /* a JSON object; empty: none */
    uint64_t window_s;        /* OpenRouter's 24 hours if not given */
} pst_openrouter_submit_t;

/* The reader is at its end.  PST_E_INPUT with words in eb. */
PST_MUSTCHECK pst_err_t pst_openrouter_submit_read(const pst_inline_t *in, pst_arena_t *a, pst_openrouter_submit_t *ret,
                                                   pst_errbuf_t *eb);

typedef struct pst_openrouter_reader {
    pst_json_t json;
    pst_arena_t arena;
    pst_buf_t body;
} pst_openrouter_reader_t;

typedef struct pst_openrouter_request {
    pst_view_t whole;     /* set if it is no object: the other two are empty then */
    pst_view_t custom_id; /* JSON, as it stands; empty: none */
    pst_view_t body;      /* likewise; an object has the batch's model and provider in it */
} pst_openrouter_request_t;

void pst_openrouter_reader_init(pst_openrouter_reader_t *r);
void pst_openrouter_reader_release(pst_openrouter_reader_t *r);
/* element: strict JSON.  Valid until the next.  PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_openrouter_read(pst_openrouter_reader_t *r, pst_view_t element,
                                            const pst_openrouter_submit_t *s, pst_openrouter_request_t *ret);
/* Appends the line with its line feed.  url: of the endpoint, or of what its body was translated to. */
void pst_openrouter_put_line(pst_buf_t *out, const pst_openrouter_request_t *q, pst_view_t url);
/* Appends an element as it came, on one line, with its line feed: to be read later. */
void pst_openrouter_put_element(pst_buf_t *out, pst_view_t element);

/* What a batch does not know of itself. */
typedef struct pst_openrouter_about {
    const char *endpoint; /* NULL: chat completions */
    const char *error;    /* why it failed; NULL: said by its results' errors */
    const char *model;    /* NULL: not known.  OpenRouter's SDKs demand a text: it is then that of the only endpoint, or "" */
} pst_openrouter_about_t;

/* Appends the batch object.  open: up to and with `"results":[`; the elements and pst_openrouter_put_end follow. */
void pst_openrouter_put_batch(pst_buf_t *out, const pst_batch_t *b, const pst_openrouter_about_t *about, bool open);
/* Appends one of our result lines as an element, with the comma unless it is the first.  PST_E_INVALID: that is no such
 * line; nothing is appended. */
PST_MUSTCHECK pst_err_t pst_openrouter_put_result(pst_openrouter_reader_t *r, pst_view_t line, bool first,
                                                  pst_buf_t *out);
void pst_openrouter_put_end(pst_buf_t *out);
/* about: as many as there are batches. */
void pst_openrouter_put_list(pst_buf_t *out, const pst_batch_list_t *l, const pst_openrouter_about_t *about);
/* {"error":{"code":status,"message":…,"metadata":…}}; metadata: JSON, empty: left out. */
void pst_openrouter_put_error(pst_buf_t *out, int status, pst_view_t message, pst_view_t metadata);

#endif
