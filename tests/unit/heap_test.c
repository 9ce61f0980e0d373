#include "unit.h"

#include "base/heap.h"
#include "base/rng.h"

enum { NODES = 200 };

static bool less(const pst_heap_node_t *a, const pst_heap_node_t *b)
{
    return a->key < b->key || (a->key == b->key && a->seq < b->seq);
}

/* The oracle: which node is least, by looking at all that are in. */
static pst_heap_node_t *least(pst_heap_node_t *x)
{
    pst_heap_node_t *best = NULL;
    for (int i = 0; i < NODES; i++) {
        if (pst_heap_has(&x[i]) && (!best || less(&x[i], best)))
            best = &x[i];
    }
    return best;
}

static void agrees_with_a_search_through_all(void **state)
{
    (void)state;
    static pst_heap_node_t x[NODES];
    for (int i = 0; i < NODES; i++)
        pst_heap_node_init(&x[i]);
    pst_heap_t h;
    pst_heap_init(&h);
    pst_rng_t r;
    pst_rng_seed(&r, 4);
    for (int step = 0; step < 20000; step++) {
        pst_heap_node_t *n = &x[pst_rng_below(&r, NODES)];
        if (pst_rng_below(&r, 3) == 0)
            pst_heap_remove(&h, n);
        else
            pst_heap_set(&h, n, pst_rng_below(&r, 50)); /* few keys: many ties */
        assert_ptr_equal(pst_heap_top(&h), least(x));
    }
    uint32_t left = h.n;
    for (pst_heap_node_t *n, *last = NULL; (n = pst_heap_top(&h)); last = n, left--) {
        assert_true(!last || less(last, n));
        pst_heap_remove(&h, n);
    }
    assert_int_equal(left, 0);
    pst_heap_release(&h);
}

static void ties_leave_in_the_order_they_came(void **state)
{
    (void)state;
    static pst_heap_node_t x[NODES];
    pst_heap_t h;
    pst_heap_init(&h);
    for (int i = 0; i < NODES; i++) {
        pst_heap_node_init(&x[i]);
        pst_heap_set(&h, &x[i], 7);
    }
    for (int i = 0; i < NODES; i++) {
        assert_ptr_equal(pst_heap_top(&h), &x[i]);
        pst_heap_remove(&h, &x[i]);
        assert_false(pst_heap_has(&x[i]));
    }
    pst_heap_release(&h);
}

static void moving_away_and_back_queues_again_at_the_end(void **state)
{
    (void)state;
    pst_heap_node_t a, b;
    pst_heap_node_init(&a);
    pst_heap_node_init(&b);
    pst_heap_t h;
    pst_heap_init(&h);
    pst_heap_set(&h, &a, 1);
    pst_heap_set(&h, &b, 1);
    pst_heap_set(&h, &a, 1); /* no move: keeps its place */
    assert_ptr_equal(pst_heap_top(&h), &a);
    pst_heap_set(&h, &a, 2);
    assert_ptr_equal(pst_heap_top(&h), &b);
    pst_heap_set(&h, &a, 1);
    assert_ptr_equal(pst_heap_top(&h), &b);
    assert_int_equal(h.n, 2);
    pst_heap_release(&h);
}

static void edges(void **state)
{
    (void)state;
    pst_heap_node_t a;
    pst_heap_node_init(&a);
    pst_heap_t h;
    pst_heap_init(&h);
    assert_null(pst_heap_top(&h));
    pst_heap_remove(&h, &a);
    pst_heap_set(&h, &a, UINT64_MAX);
    assert_ptr_equal(pst_heap_top(&h), &a);
    pst_heap_remove(&h, &a);
    pst_heap_remove(&h, &a);
    assert_null(pst_heap_top(&h));
    pst_heap_set(&h, &a, 0);
    pst_heap_release(&h); /* lets go of its nodes */
    assert_false(pst_heap_has(&a));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(agrees_with_a_search_through_all),
    cmocka_unit_test(ties_leave_in_the_order_they_came),
    cmocka_unit_test(moving_away_and_back_queues_again_at_the_end),
    cmocka_unit_test(edges),
};
UNIT_MAIN(tests)
