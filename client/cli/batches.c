/* batches.c - the commands that ask about batches and jobs, or change them: status, list, watch, receipt, get, cancel,
 * delete. */
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/table.h"

#define LIST_LIMIT 20

/* A command about one batch: connects, reads it, and does `act`. */
typedef int batch_act_fn(const pst_cli_args_t *a, const pst_batch_t *b);

static int with_batch(const pst_cli_args_t *a, batch_act_fn *act)
{
    pst_id_t id;
    pst_client_t *c = NULL;
    int code = pst_cli_batch_id(a, &id);
    if (!code)
        code = pst_cli_connect(a, &c);
    if (code)
        return code;
    pst_batch_t b;
    pst_err_t e = pst_batch_get(c, &id, &b);
    if (e) {
        code = pst_cli_fail_client(c, e);
    } else {
        code = act(a, &b);
        pst_batch_release(&b);
    }
    pst_client_destroy(&c);
    return code;
}

static void put_count(const char *what, uint64_t n)
{
    pst_cli_text_t t;
    if (n)
        printf(", %s %s", pst_cli_count(&t, n), what);
}

static void put_parked(const pst_batch_t *b)
{
    for (size_t i = 0; i < b->parked_n; i++) {
        const pst_parked_line_t *p = &b->parked[i];
        pst_cli_text_t t;
        printf("  waiting   %s%s%s: %s", p->provider, *p->model ? " " : "", p->model, p->error_type);
        if (p->until_ms)
            printf(", next try at %s\n", pst_cli_time(&t, p->until_ms));
        else
            puts(", until the configuration is reloaded");
    }
}

static void put_times(const pst_batch_t *b)
{
    pst_cli_text_t t;
    printf("  created   %s", pst_cli_time(&t, b->created_ms));
    if (b->window_s)
        printf(", window %s", pst_cli_span(&t, b->window_s));
    if (b->ended)
        printf(", ended %s", pst_cli_time(&t, b->ended_ms));
    else if (b->expires_ms)
        printf(", expires %s", pst_cli_time(&t, b->expires_ms));
    putchar('\n');
}

static void put_batch(const pst_batch_t *b)
{
    pst_cli_text_t t, u;
    printf("%s  %s%s%s\n", b->id, b->status, *b->name ? "  " : "", b->name);
    printf("  requests  %s: %s completed", pst_cli_count(&t, b->jobs), pst_cli_count(&u, b->completed));
    put_count("failed", b->failed);
    put_count("expired", b->expired);
    put_count("cancelled", b->cancelled);
    put_count("running", b->running);
    put_count("retrying", b->retrying);
    put_count("queued", b->queued);
    printf("\n  tokens    %s in", pst_cli_count(&t, b->input_tokens));
    if (b->cached_tokens)
        printf(" (%s cached)", pst_cli_count(&t, b->cached_tokens));
    printf(", %s out\n", pst_cli_count(&t, b->output_tokens));
    printf("  cost      %s", pst_cli_usd(&t, b->cost_usd));
    if (b->max_cost_usd > 0)
        printf(" of %s", pst_cli_usd(&t, b->max_cost_usd));
    printf("\n  priority  %s\n", b->priority);
    if (*b->tenant)
        printf("  tenant    %s\n", b->tenant);
    put_times(b);
    put_parked(b);
}

static int show_status(const pst_cli_args_t *a, const pst_batch_t *b)
{
    char *json = NULL;
    if (a->json) {
        pst_err_t e = pst_batch_json(b, &json);
        return pst_cli_print_json(e, json);
    }
    put_batch(b);
    return pst_cli_end_stdout();
}

int pst_cli_status(const pst_cli_args_t *a)
{
    return with_batch(a, show_status);
}

static void put_causes(const pst_batch_t *b)
{
    for (size_t i = 0; i < b->causes_n; i++) {
        pst_cli_text_t t;
        printf("  %-28s %12s\n", b->causes[i].error_type, pst_cli_count(&t, b->causes[i].n));
    }
}

static const pst_column_t endpoint_columns[] = {
    {.title = "PROVIDER", .left = true}, {.title = "MODEL", .left = true}, {.title = "CALLS"}, {.title = "COMPLETED"},
    {.title = "429"}, {.title = "RETRIED"}, {.title = "TOKENS IN"}, {.title = "OF THEM CACHED"}, {.title = "TOKENS OUT"},
    {.title = "COST"}, {.title = "P50 MS"}, {.title = "P95 MS"},
};

static void put_endpoint(pst_table_t *t, const pst_endpoint_line_t *e)
{
    const uint64_t counts[] = {e->calls,   e->completed,    e->rate_limited,
                               e->retried, e->input_tokens, e->cached_tokens, e->output_tokens};
    pst_cli_text_t x;
    pst_table_cell(t, "%s", e->provider);
    pst_table_cell(t, "%s", e->model);
    for (size_t i = 0; i < PST_COUNT(counts); i++)
        pst_table_cell(t, "%s", pst_cli_count(&x, counts[i]));
    pst_table_cell(t, "%s", pst_cli_usd(&x, e->cost_usd));
    pst_table_cell(t, "%u", e->latency_p50_ms);
    pst_table_cell(t, "%u", e->latency_p95_ms);
}

static void put_endpoints(const pst_batch_t *b)
{
    if (b->endpoints_n == 0)
        return;
    pst_table_t t;
    pst_table_init(&t, endpoint_columns, PST_COUNT(endpoint_columns));
    for (size_t i = 0; i < b->endpoints_n; i++)
        put_endpoint(&t, &b->endpoints[i]);
    putchar('\n');
    pst_table_print(&t);
    pst_table_release(&t);
}

static int show_receipt(const pst_cli_args_t *a, const pst_batch_t *b)
{
    char *json = NULL;
    if (a->json) {
        pst_err_t e = pst_batch_receipt_json(b, &json);
        return pst_cli_print_json(e, json);
    }
    pst_cli_text_t t;
    printf("%s  %s\n", b->id, b->status);
    printf("  %-28s %12s\n", "jobs in", pst_cli_count(&t, b->jobs));
    printf("  %-28s %12s\n", "results out", pst_cli_count(&t, pst_cli_done(b)));
    printf("  %-28s %12s\n", "completed", pst_cli_count(&t, b->completed));
    printf("  %-28s %12s\n", "failed", pst_cli_count(&t, b->failed));
    printf("  %-28s %12s\n", "expired", pst_cli_count(&t, b->expired));
    printf("  %-28s %12s\n", "cancelled", pst_cli_count(&t, b->cancelled));
    put_causes(b);
    printf("  %-28s %12s\n", "input tokens", pst_cli_count(&t, b->input_tokens));
    printf("  %-28s %12s\n", "of them cached", pst_cli_count(&t, b->cached_tokens));
    printf("  %-28s %12s\n", "output tokens", pst_cli_count(&t, b->output_tokens));
    printf("  %-28s %12s\n", "cost", pst_cli_usd(&t, b->cost_usd));
    put_endpoints(b);
    return pst_cli_end_stdout();
}

int pst_cli_receipt(const pst_cli_args_t *a)
{
    return with_batch(a, show_receipt);
}

static const pst_column_t list_columns[] = {
    {.title = "ID", .left = true}, {.title = "STATUS", .left = true}, {.title = "REQUESTS"},
    {.title = "COMPLETED"},        {.title = "FAILED"},               {.title = "COST"},
    {.title = "CREATED"},          {.title = "TENANT", .left = true}, {.title = "NAME", .left = true},
};

static void put_row(pst_table_t *t, const pst_batch_t *b)
{
    pst_cli_text_t x;
    pst_table_cell(t, "%s", b->id);
    pst_table_cell(t, "%s", b->status);
    pst_table_cell(t, "%s", pst_cli_count(&x, b->jobs));
    pst_table_cell(t, "%s", pst_cli_count(&x, b->completed));
    pst_table_cell(t, "%s", pst_cli_count(&x, b->failed + b->expired + b->cancelled));
    pst_table_cell(t, "%s", pst_cli_usd(&x, b->cost_usd));
    pst_table_cell(t, "%s", pst_cli_time(&x, b->created_ms));
    pst_table_cell(t, "%s", b->tenant);
    pst_table_cell(t, "%s", b->name);
}

static int show_table(const pst_batch_list_t *l)
{
    pst_table_t t;
    pst_table_init(&t, list_columns, PST_COUNT(list_columns));
    for (size_t i = 0; i < l->n; i++)
        put_row(&t, &l->v[i]);
    pst_table_print(&t);
    pst_table_release(&t);
    if (l->more)
        printf("(more: penstock list --after %s)\n", l->v[l->n - 1].id);
    return pst_cli_end_stdout();
}

/* OpenAI's list envelope. */
static int show_envelope(const pst_batch_list_t *l)
{
    fputs("{\"object\":\"list\",\"data\":[", stdout);
    for (size_t i = 0; i < l->n; i++) {
        char *json = NULL;
        pst_err_t e = pst_batch_json(&l->v[i], &json);
        if (e)
            return pst_cli_fail(EXIT_FAILED, "%s", pst_err_text(e));
        printf("%s%s", i ? "," : "", json);
        free(json);
    }
    if (l->n > 0)
        printf("],\"first_id\":\"%s\",\"last_id\":\"%s\"", l->v[0].id, l->v[l->n - 1].id);
    else
        fputs("],\"first_id\":null,\"last_id\":null", stdout);
    printf(",\"has_more\":%s}\n", l->more ? "true" : "false");
    return pst_cli_end_stdout();
}

static int read_list_options(const pst_cli_args_t *a, uint32_t *limit, pst_id_t *after)
{
    char *end = NULL;
    unsigned long n = a->limit ? strtoul(a->limit, &end, 10) : LIST_LIMIT;
    if (n < 1 || n > 100 || (end && *end))
        return pst_cli_fail(EXIT_USAGE, "--limit %s is out of bounds: write 1 to 100", a->limit);
    *limit = (uint32_t)n;
    if (a->after && pst_id_parse(pst_view_str(a->after), after) != PST_OK)
        return pst_cli_fail(EXIT_USAGE, "--after %s is no batch: give the id of one", a->after);
    return EXIT_WELL;
}

int pst_cli_list(const pst_cli_args_t *a)
{
    uint32_t limit = 0;
    pst_id_t after;
    pst_client_t *c = NULL;
    int code = read_list_options(a, &limit, &after);
    if (!code)
        code = pst_cli_connect(a, &c);
    if (code)
        return code;
    pst_batch_list_t l;
    pst_err_t e = pst_batch_list(c, a->after ? &after : NULL, limit, &l);
    if (e) {
        code = pst_cli_fail_client(c, e);
    } else {
        code = a->json ? show_envelope(&l) : show_table(&l);
        pst_batch_list_release(&l);
    }
    pst_client_destroy(&c);
    return code;
}

/* A command that needs only a batch's id. */
typedef int id_act_fn(pst_client_t *c, const pst_id_t *batch, const pst_cli_args_t *a);

static int with_id(const pst_cli_args_t *a, id_act_fn *act)
{
    pst_id_t id;
    pst_client_t *c = NULL;
    int code = pst_cli_batch_id(a, &id);
    if (!code)
        code = pst_cli_connect(a, &c);
    if (!code)
        code = act(c, &id, a);
    pst_client_destroy(&c);
    return code;
}

static int do_watch(pst_client_t *c, const pst_id_t *batch, const pst_cli_args_t *a)
{
    (void)a;
    return pst_progress_watch(c, batch, NULL, NULL);
}

int pst_cli_watch(const pst_cli_args_t *a)
{
    return with_id(a, do_watch);
}

static int do_cancel(pst_client_t *c, const pst_id_t *batch, const pst_cli_args_t *a)
{
    pst_err_t e = pst_batch_cancel(c, batch);
    if (e)
        return pst_cli_fail_client(c, e);
    pst_cli_say("%s is being cancelled: what is done stays, see `penstock watch %s`", a->operand[0], a->operand[0]);
    return EXIT_WELL;
}

int pst_cli_cancel(const pst_cli_args_t *a)
{
    return with_id(a, do_cancel);
}

static int do_delete(pst_client_t *c, const pst_id_t *batch, const pst_cli_args_t *a)
{
    pst_err_t e = pst_batch_delete(c, batch);
    if (e)
        return pst_cli_fail_client(c, e);
    pst_cli_say("%s and its results are deleted", a->operand[0]);
    return EXIT_WELL;
}

int pst_cli_delete(const pst_cli_args_t *a)
{
    return with_id(a, do_delete);
}

static int read_job_id(const pst_cli_args_t *a, pst_id_t *batch, uint32_t *index)
{
    *index = 0;
    if (a->operands == 2)
        return pst_cli_batch_id(a, batch);
    if (pst_job_id_parse(pst_view_str(a->operand[0]), batch, index) == PST_OK)
        return EXIT_WELL;
    return pst_cli_fail(EXIT_USAGE, "\"%s\" is no id of a job: write BATCH.INDEX, or BATCH CUSTOM_ID", a->operand[0]);
}

int pst_cli_get(const pst_cli_args_t *a)
{
    pst_id_t batch;
    uint32_t index;
    pst_client_t *c = NULL;
    int code = read_job_id(a, &batch, &index);
    if (!code)
        code = pst_cli_connect(a, &c);
    if (code)
        return code;
    char *json = NULL;
    bool ended;
    pst_err_t e = pst_job_get(c, &batch, index, a->operands == 2 ? a->operand[1] : NULL, &json, &ended);
    code = e ? pst_cli_fail_client(c, e) : pst_cli_print_json(PST_OK, json);
    pst_client_destroy(&c);
    return code;
}
