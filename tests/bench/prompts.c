#include "prompts.h"

#include "base/rng.h"

/* Large enough that the texts of a pack do not overlap. */
#define POOL_BYTES ((size_t)4 << 20)
#define WORDS 2048u
#define WORD_BYTES_MAX 10u
#define NUMBER_BYTES 15 /* "job 0123456789 " */
#define SEED 20240607

/* What stands around the model's name, the system text and the message. */
typedef struct frame {
    const char *head, *model_end, *middle, *tail;
} frame_t;

static const frame_t with_system = {"{\"model\":\"", "\",\"messages\":[{\"role\":\"system\",\"content\":\"",
                                    "\"},{\"role\":\"user\",\"content\":\"", "\"}],\"max_tokens\":256}"};
static const frame_t message_alone = {"{\"model\":\"", "\",\"messages\":[{\"role\":\"user\",\"content\":\"", "",
                                      "\"}]}"};

struct bench_prompts {
    char *pool;
    size_t text_bytes, system_bytes, stride;
    size_t system_at, user_at; /* in body */
    bool unique;
    pst_buf_t body;            /* of the job asked for last */
};

static void fill_letters(char *p, size_t n, pst_rng_t *rng)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .";
    for (size_t i = 0; i < n; i++)
        p[i] = letters[pst_rng_next(rng) >> 58];
}

/* Words of a made-up language, the short ones more often. */
static void fill_words(char *p, size_t n, pst_rng_t *rng)
{
    static char word[WORDS][WORD_BYTES_MAX + 1];
    for (unsigned w = 0; w < WORDS; w++) {
        size_t length = 2 + pst_rng_below(rng, WORD_BYTES_MAX - 2);
        for (size_t i = 0; i < length; i++)
            word[w][i] = (char)('a' + pst_rng_below(rng, 26));
    }
    for (size_t at = 0; at < n;) {
        const char *w = word[pst_rng_below(rng, 1 + pst_rng_below(rng, WORDS))];
        size_t length = PST_MIN(strlen(w), n - at);
        memcpy(p + at, w, length);
        at += length;
        if (at < n)
            p[at++] = ' ';
    }
}

static size_t frame_bytes(const frame_t *f, const char *model)
{
    return strlen(f->head) + strlen(model) + strlen(f->model_end) + strlen(f->middle) + strlen(f->tail);
}

static void lay_out(bench_prompts_t *p, const frame_t *f, const char *model)
{
    pst_buf_puts(&p->body, f->head);
    pst_buf_puts(&p->body, model);
    pst_buf_puts(&p->body, f->model_end);
    p->system_at = p->body.n;
    pst_buf_put(&p->body, p->pool, p->system_bytes);
    pst_buf_puts(&p->body, f->middle);
    p->user_at = p->body.n;
    pst_buf_put(&p->body, p->pool, p->text_bytes);
    pst_buf_puts(&p->body, f->tail);
    PST_ASSERT(!p->body.failed);
}

bench_prompts_t *bench_prompts_new(const bench_prompts_opts_t *o)
{
    const frame_t *frame = &with_system;
    size_t text_bytes = o->text_bytes, used = frame_bytes(frame, o->model);
    if (o->body_bytes < used + text_bytes) {
        frame = &message_alone;
        used = frame_bytes(frame, o->model);
        text_bytes = o->body_bytes - PST_MIN(used, o->body_bytes);
    }
    if (text_bytes < NUMBER_BYTES || o->body_bytes > POOL_BYTES / 2)
        return NULL;
    bench_prompts_t *p = pst_calloc(1, sizeof *p);
    pst_rng_t rng;
    pst_rng_seed(&rng, SEED);
    p->text_bytes = text_bytes;
    p->system_bytes = o->body_bytes - used - text_bytes;
    p->stride = o->body_bytes;
    p->unique = o->unique;
    p->pool = pst_alloc(POOL_BYTES);
    (o->unique ? fill_letters : fill_words)(p->pool, POOL_BYTES, &rng);
    pst_buf_init(&p->body, 0);
    lay_out(p, frame, o->model);
    return p;
}

void bench_prompts_destroy(bench_prompts_t **pp)
{
    bench_prompts_t *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    pst_buf_release(&p->body);
    free(p->pool);
    free(p);
}

size_t bench_prompts_text_bytes(const bench_prompts_t *p)
{
    return p->text_bytes;
}

static const char *slice(const bench_prompts_t *p, uint32_t i)
{
    return p->pool + (size_t)i * p->stride % (POOL_BYTES - p->stride);
}

/* Over zeros, its last digit before `end`. */
static void put_digits(uint32_t i, char *end)
{
    for (; i > 0; i /= 10)
        *--end = (char)('0' + i % 10);
}

static void put_number(uint32_t i, char to[NUMBER_BYTES])
{
    memcpy(to, "job 0000000000 ", NUMBER_BYTES);
    put_digits(i, to + NUMBER_BYTES - 1);
}

pst_view_t bench_prompts_body(bench_prompts_t *p, uint32_t i)
{
    const char *from = slice(p, i);
    char *user = p->body.p + p->user_at;
    put_number(i, user);
    memcpy(user + NUMBER_BYTES, from, p->text_bytes - NUMBER_BYTES);
    if (p->unique)
        memcpy(p->body.p + p->system_at, from + p->text_bytes, p->system_bytes);
    return pst_buf_view(&p->body);
}

pst_view_t bench_prompts_text(const bench_prompts_t *p)
{
    return pst_view(p->body.p + p->user_at, p->text_bytes);
}

static bool starts(pst_view_t *v, const void *with, size_t n)
{
    if (v->n < n || (n > 0 && memcmp(v->p, with, n) != 0))
        return false;
    *v = pst_view(v->p + n, v->n - n);
    return true;
}

bool bench_prompts_answered(const bench_prompts_t *p, uint32_t i, pst_view_t answer, pst_view_t lead)
{
    const char *at = answer.n ? memmem(answer.p, answer.n, lead.p, lead.n) : NULL;
    if (!at)
        return false;
    at += lead.n;
    pst_view_t v = pst_view(at, answer.n - (size_t)(at - answer.p));
    char number[NUMBER_BYTES];
    put_number(i, number);
    if (!starts(&v, number, NUMBER_BYTES) || !starts(&v, slice(p, i), p->text_bytes - NUMBER_BYTES))
        return false;
    while (v.n > 0 && *v.p == '.')
        v = pst_view(v.p + 1, v.n - 1);
    return v.n > 0 && *v.p == '"';
}

/* Fixed width, and no printf: it would cost a tenth of what is measured. */
void bench_custom_id(uint32_t i, char to[BENCH_CUSTOM_ID_MAX])
{
    memcpy(to, "c-0000000000", 13);
    put_digits(i, to + 12);
}
