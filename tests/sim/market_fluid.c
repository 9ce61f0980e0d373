/* market_fluid.c - what no routing can beat: the least time, and the least cost within a time, that limits allow.
 *
 * Jobs are a fluid, and who distributes them knows of each what its submitter says of its input; of its output, and of how
 * far the submitter is off, only the mean.  A call at endpoint e
 * takes a[e][d] of each rate d that limits it (a request, its tokens, its place); in T seconds the provider lets
 *     burst[e][d] + flow[e][d] T
 * through: its bucket begins full, and once answers have settled what was reserved, all calls together have taken what
 * they took.  Counted by the second the burst is two seconds' worth, for the first and the last second may be cut.
 *
 * The bound comes from prices.  Let each unit of a rate cost x[e][d] >= 0.  Wherever a job goes, it pays at least what it
 * pays at the endpoint that is cheapest for it, and all that is sold is what the providers have:
 *     sum over jobs of min over e of (a · x)  <=  sum over e, d of x (burst + flow T)
 * which is a lower bound for T, valid for any prices; as for the cost within T, where a job's own price is added
 * on the left and its sum on the right.  So a mistake in finding good prices makes the bound lower, never wrong.
 * They are found by raising those of which more is wanted than there is (sold out at each step by a softened minimum). */
#include <math.h>

#include "market.h"

#define ROUNDS 3000
#define RESOURCES (PST_RATE_COUNT + 1) /* and calls in flight */
#define IN_FLIGHT PST_RATE_COUNT
#define INPUT_MAX 65536                /* tokens; larger inputs are counted as this */

typedef struct seller {
    double burst[RESOURCES], flow[RESOURCES]; /* flow 0 and burst 0: no limit */
    double each[RESOURCES], a_token[RESOURCES]; /* what a call takes: each + a_token × its input */
    double price[RESOURCES];
    double cost_each, cost_a_token;   /* USD */
    double sold[RESOURCES];
} seller_t;

typedef struct fluid {
    double *jobs;    /* by input */
    uint32_t inputs; /* values of it */
    double all, mean_input;
    double output;   /* mean */
    double noise;    /* real tokens to estimated ones, before a tokenizer */
    seller_t *sellers;
    uint32_t sellers_n;
    double seconds;  /* in which they must be served */
    double worth;    /* of a USD, in units of price; 0: cost does not count */
} fluid_t;

/* ---- what there is, and what is wanted ----------------------------------------------------------------------------------- */

static void set_rate(const fluid_t *f, seller_t *s, const provider_t *p, int rate)
{
    double limit = (double)p->plan.limit[rate];
    if (limit <= 0)
        return;
    bool tokens = rate == PST_RATE_INPUT || rate == PST_RATE_TOKENS;
    s->flow[rate] = rate == PST_RATE_DAILY ? limit / 86400 : limit / 60;
    s->burst[rate] = rate == PST_RATE_DAILY ? limit : market_provider_burst(p, rate);
    if (rate == PST_RATE_REQUESTS && p->plan.counting == COUNT_SECOND)
        s->burst[rate] = 2 * limit / 60;
    s->a_token[rate] = tokens ? p->plan.tokenizer * f->noise : 0;
    s->each[rate] = rate == PST_RATE_OUTPUT || rate == PST_RATE_TOKENS ? f->output : rate == PST_RATE_INPUT ? 0 : 1;
}

static void set_seller(const market_t *m, const fluid_t *f, const endpoint_t *e, seller_t *s)
{
    const provider_plan_t *plan = &m->providers[e->provider].plan;
    for (int i = 0; i < PST_RATE_COUNT; i++)
        set_rate(f, s, &m->providers[e->provider], i);
    if (plan->concurrency) {
        double sigma = plan->latency_sigma;
        s->each[IN_FLIGHT] = plan->latency_s * exp(sigma * sigma / 2) + plan->token_s * f->output;
        s->flow[IN_FLIGHT] = plan->concurrency;
        s->burst[IN_FLIGHT] = plan->concurrency * s->each[IN_FLIGHT];
    }
    s->cost_each = f->output * e->price_output / 1e6;
    s->cost_a_token = plan->tokenizer * f->noise * e->price_input / 1e6;
}

static void count_jobs(const market_t *m, fluid_t *f)
{
    double output = 0, input = 0, real = 0;
    for (uint32_t i = 0; i < m->batches_n; i++) {
        const batch_t *b = m->batches[i];
        for (uint32_t k = 0; b->origin == b && k < b->plan.jobs; k++) {
            job_t j = market_batch_job(m, b, k);
            uint32_t v = PST_MIN(j.input, INPUT_MAX - 1);
            f->jobs[v]++;
            f->inputs = PST_MAX(f->inputs, v + 1);
            f->all++;
            output += j.output;
            input += v;
            real += v * j.noise;
        }
    }
    f->output = output / f->all;
    f->mean_input = input / f->all;
    f->noise = real / input;
}

static void open_fluid(const market_t *m, uint32_t endpoints, fluid_t *f)
{
    *f = (fluid_t){.jobs = pst_calloc(INPUT_MAX, sizeof *f->jobs), .sellers_n = endpoints};
    f->sellers = pst_calloc(endpoints, sizeof *f->sellers);
    count_jobs(m, f);
    for (uint32_t i = 0; i < f->sellers_n; i++)
        set_seller(m, f, &m->endpoints[i], &f->sellers[i]);
}

static void close_fluid(fluid_t *f)
{
    free(f->jobs);
    free(f->sellers);
}

/* ---- prices ------------------------------------------------------------------------------------------------------------------ */

static double taken(const seller_t *s, int d, double input)
{
    return s->each[d] + s->a_token[d] * input;
}

static double charge(const fluid_t *f, const seller_t *s, double input)
{
    double sum = f->worth * (s->cost_each + s->cost_a_token * input);
    for (int d = 0; d < RESOURCES; d++)
        sum += s->price[d] * taken(s, d, input);
    return sum;
}

/* Every seller's rates cost a mean job the same in all, shared among those that limit it. */
static void first_prices(fluid_t *f)
{
    for (uint32_t i = 0; i < f->sellers_n; i++) {
        seller_t *s = &f->sellers[i];
        int n = 0;
        for (int d = 0; d < RESOURCES; d++)
            n += s->flow[d] > 0;
        for (int d = 0; d < RESOURCES; d++)
            s->price[d] = s->flow[d] > 0 ? 1 / (n * taken(s, d, f->mean_input)) : 0;
    }
}

/* Distributes the jobs by what they would be charged, softly; returns what they pay if each goes where it is charged least. */
static double sell(fluid_t *f, double softness, double *share)
{
    double least_sum = 0;
    for (uint32_t i = 0; i < f->sellers_n; i++)
        memset(f->sellers[i].sold, 0, sizeof f->sellers[i].sold);
    for (uint32_t v = 0; v < f->inputs; v++) {
        if (f->jobs[v] == 0)
            continue;
        double least = INFINITY, sum = 0;
        for (uint32_t i = 0; i < f->sellers_n; i++) {
            share[i] = charge(f, &f->sellers[i], v);
            least = fmin(least, share[i]);
        }
        least_sum += f->jobs[v] * least;
        for (uint32_t i = 0; i < f->sellers_n; i++)
            sum += share[i] = exp((least - share[i]) / (softness * least));
        for (uint32_t i = 0; i < f->sellers_n; i++)
            for (int d = 0; d < RESOURCES && share[i] > 1e-9; d++)
                f->sellers[i].sold[d] += f->jobs[v] * share[i] / sum * taken(&f->sellers[i], d, v);
    }
    return least_sum;
}

static double stock(const seller_t *s, int d, double seconds)
{
    return s->burst[d] + s->flow[d] * seconds;
}

static void raise_prices(fluid_t *f, double step)
{
    for (uint32_t i = 0; i < f->sellers_n; i++) {
        seller_t *s = &f->sellers[i];
        for (int d = 0; d < RESOURCES; d++)
            if (s->flow[d] > 0)
                s->price[d] *= exp(step * fmax(-1, fmin(1, s->sold[d] / stock(s, d, f->seconds) - 1)));
    }
}

static double worth_of_stock(const fluid_t *f, double seconds)
{
    double sum = 0;
    for (uint32_t i = 0; i < f->sellers_n; i++)
        for (int d = 0; d < RESOURCES; d++)
            sum += f->sellers[i].price[d] * stock(&f->sellers[i], d, seconds);
    return sum;
}

/* From large and soft steps to small and sharp ones. */
static void pace(int round, double *ret_softness, double *ret_step)
{
    double done = (double)round / ROUNDS;
    *ret_softness = 0.2 * pow(0.005, done);
    *ret_step = 0.2 * pow(0.01, done);
}

double market_least_seconds(const market_t *m, uint32_t endpoints)
{
    fluid_t f;
    open_fluid(m, endpoints, &f);
    first_prices(&f);
    double best = 0, *share = pst_calloc(f.sellers_n, sizeof *share);
    f.seconds = 1;
    for (int i = 0; i < ROUNDS; i++) {
        double softness, step;
        pace(i, &softness, &step);
        double paid = sell(&f, softness, share), bursts = worth_of_stock(&f, 0);
        double flows = worth_of_stock(&f, 1) - bursts;
        best = fmax(best, (paid - bursts) / flows);
        f.seconds = fmax(best, 1);
        raise_prices(&f, step);
    }
    free(share);
    close_fluid(&f);
    return best;
}

/* A USD is worth what makes the dearest mean job cost 1: prices are of that size. */
double market_least_cost(const market_t *m, double seconds)
{
    fluid_t f;
    open_fluid(m, m->endpoints_n, &f);
    first_prices(&f);
    double best = 0, dearest = 0, *share = pst_calloc(f.sellers_n, sizeof *share);
    for (uint32_t i = 0; i < f.sellers_n; i++)
        dearest = fmax(dearest, f.sellers[i].cost_each + f.sellers[i].cost_a_token * f.mean_input);
    f.worth = 1 / dearest;
    f.seconds = seconds;
    for (int i = 0; i < ROUNDS; i++) {
        double softness, step;
        pace(i, &softness, &step);
        double paid = sell(&f, softness, share);
        best = fmax(best, (paid - worth_of_stock(&f, seconds)) / f.worth);
        raise_prices(&f, step);
    }
    free(share);
    close_fluid(&f);
    return best;
}
