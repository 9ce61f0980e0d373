/* line.h - one line of the input, or one job given as its parts, checked and read into what its pack needs.
 * The only place where a job's JSON is parsed on its way in: strictly, whole, once.  Pure but for memory.  What a
 * reader hands out points into the line and into the reader, and is valid until the next read. */
#ifndef PST_LINE_H
#define PST_LINE_H

#include "base/arena.h"
#include "base/json.h"
#include "lib/body.h"
#include "wire/msg.h"

typedef struct pst_line_job {
    pst_view_t custom_id;        /* decoded */
    pst_url_t url;
    pst_view_t body;             /* byte for byte as it stood */
    pst_view_t route;            /* encoded pst_route_t */
    bool route_again;            /* it is that of the job read before */
    pst_view_t model;            /* first of the route, for messages */
    uint32_t input_tokens;       /* estimate */
    uint32_t output_tokens;      /* 0: not given */
    uint64_t prefix;
    bool stream;                 /* it asks for its answer in pieces */
} pst_line_job_t;

/* Why a line is refused. */
typedef struct pst_line_fault {
    pst_cause_t code;            /* LINE_… */
    pst_view_t custom_id;        /* p NULL: could not be read */
    char message[256];
} pst_line_fault_t;

/* What those may ask for who submit through somebody else.  Outlives its use. */
typedef struct pst_line_rule {
    bool (*allows_model)(const void *arg, pst_view_t model);
    bool (*allows_provider)(const void *arg, pst_view_t provider);
    const void *arg;
    char *const *providers;      /* those alone, at most PST_ROUTE_NAMES_MAX; */
    uint32_t providers_n;        /* 0: all, and allows_provider is not asked */
} pst_line_rule_t;

typedef struct pst_line_reader {
    pst_json_t json;
    pst_arena_t arena;           /* decoded strings and route arrays of the line */
    pst_buf_t route;             /* of the last job that had one */
    pst_buf_t route_model;       /* the model as it stood, where it was all that the body said of routing; else empty */
    uint32_t route_params;
    size_t route_name;           /* bytes of the model's name without its suffix */
    pst_body_memory_t memory;
    pst_view_t model;            /* for lines that name none; empty: none.  Borrowed */
    uint32_t prefix_min, prefix_max; /* bytes, as pst_body_prefix takes them; from limits.h unless changed */
    const pst_line_rule_t *rule; /* NULL: everything may be asked for */
    bool streams;                /* bodies may ask for that: they are calls, not a batch */
} pst_line_reader_t;

void pst_line_reader_init(pst_line_reader_t *r, pst_view_t model);
void pst_line_reader_release(pst_line_reader_t *r);
/* Lines from now on are somebody else's. */
void pst_line_reader_rule(pst_line_reader_t *r, const pst_line_rule_t *rule);
/* PST_E_INPUT with the fault; PST_E_NOMEM. */
PST_MUSTCHECK pst_err_t pst_line_read(pst_line_reader_t *r, pst_view_t text, pst_line_job_t *ret,
                                      pst_line_fault_t *fault);
/* The same for a body by itself.  custom_id is taken as it is, within its bounds. */
PST_MUSTCHECK pst_err_t pst_line_read_body(pst_line_reader_t *r, pst_view_t custom_id, pst_url_t url, pst_view_t body,
                                           pst_line_job_t *ret, pst_line_fault_t *fault);

#endif
