/* results.c - `penstock results`. */
#include "cli/cli.h"
#include "cli/order.h"
#include "cli/output.h"

#define FOLLOW_WAIT_MS 5000

typedef struct reader {
    const pst_cli_args_t *args;
    pst_client_t *client;
    pst_results_t *results;
    pst_output_t out;
    pst_order_t *order;  /* NULL: as they come */
} reader_t;

static int take(reader_t *r, const pst_result_line_t *line)
{
    if (r->args->errors && line->status == PST_JOB_COMPLETED)
        return EXIT_WELL;
    if (r->order)
        return pst_order_add(r->order, line->index, line->line);
    return pst_output_line(&r->out, line->line);
}

/* Everything there is; with --follow until the batch has ended.  What is there is flushed before waiting for more. */
static int read_all(reader_t *r)
{
    bool more = true, ended = false;
    uint32_t wait_ms = 0;
    while (!r->out.closed) {
        pst_result_line_t line;
        pst_err_t e = pst_results_next(r->results, wait_ms, &line, &more, &ended);
        if (e)
            return pst_cli_fail_client(r->client, e);
        int code = more ? take(r, &line) : pst_output_flush(&r->out);
        if (code)
            return code;
        if (!more && (ended || !r->args->follow))
            break;
        wait_ms = more ? 0 : FOLLOW_WAIT_MS;
    }
    return EXIT_WELL;
}

static int begin_order(reader_t *r, const pst_id_t *batch)
{
    pst_batch_t b;
    pst_err_t e = pst_batch_get(r->client, batch, &b);
    if (e)
        return pst_cli_fail_client(r->client, e);
    int code = pst_order_new(b.jobs, &r->order);
    pst_batch_release(&b);
    return code;
}

static int run(reader_t *r, const pst_id_t *batch)
{
    int code = r->args->in_order ? begin_order(r, batch) : EXIT_WELL;
    if (code)
        return code;
    pst_err_t e = pst_results_open(r->client, batch, &r->results);
    if (e)
        return pst_cli_fail_client(r->client, e);
    code = read_all(r);
    if (!code && r->order)
        code = pst_order_write(r->order, &r->out);
    return code;
}

/* A batch that is not there must not empty a file: it is asked for first. */
static int check_there(pst_client_t *c, const pst_id_t *batch)
{
    pst_batch_t b;
    pst_err_t e = pst_batch_get(c, batch, &b);
    if (e)
        return pst_cli_fail_client(c, e);
    pst_batch_release(&b);
    return EXIT_WELL;
}

int pst_cli_results(const pst_cli_args_t *a)
{
    pst_id_t batch;
    reader_t r = {.args = a};
    int code = pst_cli_batch_id(a, &batch);
    if (!code)
        code = pst_cli_connect(a, &r.client);
    if (!code && a->output)
        code = check_there(r.client, &batch);
    if (!code)
        code = pst_output_open(&r.out, a->output);
    if (!code) {
        code = run(&r, &batch);
        int closed = pst_output_close(&r.out);
        code = code ? code : closed;
    }
    pst_results_close(&r.results);
    pst_order_destroy(&r.order);
    pst_client_destroy(&r.client);
    return code;
}
