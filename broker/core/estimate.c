/* estimate.c - how many tokens a call will take at an endpoint.
 *
 * The submitter counts a prompt's tokens without a tokenizer, and every model has its own.  What answers say was used
 * corrects it: an endpoint's ratio of real input to estimated input, over about the last million tokens, the first few
 * thousand held to 1.  An answer takes what the request allows it; where it allows anything, what 95 % of the answers
 * before it took. */
#include "core/internal.h"

#define PRIOR_TOKENS 4000.0       /* of ratio 1, so that one odd prompt moves little */
#define MEMORY_TOKENS 1000000.0   /* then what was seen counts half */
#define RATIO_MIN 0.25
#define RATIO_MAX 4.0
#define OUTPUTS_MIN 20            /* answers, before their length is believed */
#define OUTPUTS_MEMORY 4096       /* then they count half */
#define OUTPUTS_READ 64           /* answers between two looks at the histogram */
#define OUTPUTS_MEAN_OF 1024
#define OUTPUT_DEFAULT 256        /* tokens, before anything is known */

struct usage {
    double ratio;                 /* of real to estimated ones, within its bounds */
    double estimated, real;       /* input tokens */
    uint32_t output_usual;        /* 0: not known yet */
    uint32_t outputs_n;
    double output_mean;           /* of the last thousand or so; 0: not known yet */
    uint32_t outputs[PST_HIST_BUCKETS];
};

double estimate_ratio(const endpoint_t *e)
{
    return e->usage ? e->usage->ratio : 1;
}

uint32_t estimate_usual(const endpoint_t *e, uint32_t limit)
{
    return e->usage && e->usage->output_usual ? PST_MIN(e->usage->output_usual, limit) : limit;
}

double estimate_output(const endpoint_t *e, double unknown)
{
    return e->usage && e->usage->output_mean > 0 ? e->usage->output_mean : unknown;
}

static uint32_t clamp32(double tokens)
{
    return tokens < (double)UINT32_MAX ? (uint32_t)tokens : UINT32_MAX;
}

tokens_t estimate_tokens(const endpoint_t *e, const slot_t *s)
{
    uint32_t output = s->output_limit, usual = e->usage ? e->usage->output_usual : 0;
    if (!output)
        output = usual ? usual : OUTPUT_DEFAULT;
    if (e->max_output)
        output = PST_MIN(output, e->max_output);
    return (tokens_t){clamp32(s->input * estimate_ratio(e) + 0.5), output};
}

tokens_t estimate_counted(const provider_t *p, const endpoint_t *e, tokens_t t)
{
    if (p->reserve == PST_RESERVE_EXPECTED)
        t.output = estimate_usual(e, t.output);
    return t;
}

static void learn_output(usage_t *u, uint32_t tokens)
{
    u->outputs[hist_bucket(tokens)]++;
    u->outputs_n++;
    u->output_mean += (tokens - u->output_mean) / PST_MIN(u->outputs_n, OUTPUTS_MEAN_OF);
    if (u->outputs_n < OUTPUTS_MIN || (u->outputs_n > OUTPUTS_MIN && u->outputs_n % OUTPUTS_READ))
        return;
    u->output_usual = hist_quantile(u->outputs, u->outputs_n, 95);
    if (u->outputs_n < OUTPUTS_MEMORY)
        return;
    u->outputs_n = 0;
    for (uint32_t i = 0; i < PST_HIST_BUCKETS; i++)
        u->outputs_n += u->outputs[i] /= 2;
}

void estimate_learn(endpoint_t *e, uint32_t estimated, const pst_outcome_t *o)
{
    if (o->verdict != PST_VERDICT_DONE || !o->input_tokens || !estimated)
        return;
    if (!e->usage)
        e->usage = pst_calloc_line(sizeof *e->usage);
    usage_t *u = e->usage;
    u->estimated += estimated;
    u->real += o->input_tokens;
    if (u->estimated > MEMORY_TOKENS) {
        u->estimated /= 2;
        u->real /= 2;
    }
    double ratio = (u->real + PRIOR_TOKENS) / (u->estimated + PRIOR_TOKENS);
    u->ratio = PST_MIN(PST_MAX(ratio, RATIO_MIN), RATIO_MAX);
    if (o->output_tokens)
        learn_output(u, o->output_tokens);
}
