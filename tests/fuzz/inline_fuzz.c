/* inline_fuzz.c - a batch in one JSON object from whoever sends one.  The first byte says how finely it is cut.
 *
 * Cut or whole, it must come to the same.  What is accepted is JSON as a whole, and its elements and members are those
 * that base/json.h finds in it; what that refuses is refused. */
#include "base/json.h"
#include "base/rng.h"
#include "fuzz.h"
#include "gateway/inline.h"

#define PIECE_BYTES_MAX 16
#define ELEMENT_BYTES_MAX 4096

static pst_err_t on_element(void *arg, uint64_t index, pst_view_t text)
{
    pst_buf_t *all = arg;
    PST_ASSERT(text.n > 0 && text.n <= ELEMENT_BYTES_MAX);
    pst_buf_printf(all, "%llu:", (unsigned long long)index);
    pst_buf_putv(all, text);
    return PST_OK;
}

typedef struct run {
    pst_inline_t *r;
    pst_buf_t elements;
    pst_err_t error;
    uint64_t at;
} run_t;

static void run(run_t *x, const uint8_t *p, size_t n, size_t most)
{
    pst_rng_t rng;
    pst_rng_seed(&rng, most);
    pst_buf_init(&x->elements, 0);
    x->r = pst_inline_new("requests", ELEMENT_BYTES_MAX, on_element, &x->elements);
    for (size_t i = 0, part; i < n; i += part) {
        part = most == SIZE_MAX ? n : 1 + (size_t)pst_rng_below(&rng, most);
        part = PST_MIN(part, n - i);
        if (pst_inline_feed(x->r, p + i, part))
            break;
    }
    x->error = pst_inline_end(x->r);
    const char *fault = pst_inline_fault(x->r, &x->at);
    PST_ASSERT((x->error == PST_OK) == (*fault == '\0'));
    PST_ASSERT(x->at <= n);
}

static void check_whole(const run_t *x, const uint8_t *p, size_t n)
{
    pst_json_t j;
    pst_buf_t elements;
    uint64_t i = 0;
    pst_json_init(&j);
    pst_buf_init(&elements, 0);
    PST_ASSERT(pst_json_parse(&j, pst_view(p, n), NULL) == PST_OK);
    uint32_t array = pst_json_get(&j, 0, "requests"), model = pst_json_get(&j, 0, "model");
    PST_ASSERT(pst_json_is(&j, array, PST_JSON_ARRAY));
    for (uint32_t t = pst_json_first(&j, array); t != PST_JSON_NONE; t = pst_json_after(&j, array, t))
        (void)on_element(&elements, i++, pst_json_raw(&j, t));
    PST_ASSERT(i == pst_inline_elements(x->r) && pst_view_eq(pst_buf_view(&elements), pst_buf_view(&x->elements)));
    PST_ASSERT(pst_view_eq(pst_json_raw(&j, model), pst_inline_member(x->r, "model")));
    pst_buf_release(&elements);
    pst_json_release(&j);
}

static void end(run_t *x)
{
    pst_inline_destroy(&x->r);
    pst_buf_release(&x->elements);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    run_t whole, cut;
    if (size == 0)
        return 0;
    run(&whole, data + 1, size - 1, SIZE_MAX);
    run(&cut, data + 1, size - 1, 1 + data[0] % PIECE_BYTES_MAX);
    PST_ASSERT(whole.error == cut.error && whole.at == cut.at);
    PST_ASSERT(pst_view_eq(pst_buf_view(&whole.elements), pst_buf_view(&cut.elements)));
    if (whole.error == PST_OK)
        check_whole(&whole, data + 1, size - 1);
    else
        PST_ASSERT(whole.error == PST_E_INPUT || whole.error == PST_E_TOO_LARGE);
    end(&whole);
    end(&cut);
    return 0;
}
