#include "counters.h"

#define RATE_COUNT_BITS 24

void sim_rate_add(sim_rate_t *r, pst_ns_t now)
{
    uint64_t second = now / PST_SEC;
    uint64_t old = atomic_load_explicit(&r->now, memory_order_relaxed), next;
    do {
        next = old >> RATE_COUNT_BITS == second ? old + 1 : (second << RATE_COUNT_BITS) + 1;
    } while (!atomic_compare_exchange_weak(&r->now, &old, next));
    uint64_t count = next & (((uint64_t)1 << RATE_COUNT_BITS) - 1);
    uint64_t max = atomic_load_explicit(&r->max, memory_order_relaxed);
    while (count > max && !atomic_compare_exchange_weak(&r->max, &max, count))
        ;
}

bool sim_flight_begin(sim_counters_t *c, int64_t most)
{
    int64_t n = atomic_fetch_add(&c->in_flight, 1) + 1;
    if (most && n > most) {
        atomic_fetch_sub(&c->in_flight, 1);
        return false;
    }
    int64_t max = atomic_load_explicit(&c->max_in_flight, memory_order_relaxed);
    while (n > max && !atomic_compare_exchange_weak(&c->max_in_flight, &max, n))
        ;
    return true;
}

void sim_flight_end(sim_counters_t *c)
{
    atomic_fetch_sub(&c->in_flight, 1);
}

void sim_count_status(sim_counters_t *c, int status)
{
    if (status >= SIM_STATUS_MIN && status <= SIM_STATUS_MAX)
        sim_add(&c->status[status - SIM_STATUS_MIN], 1);
}

void sim_counters_reset(sim_counters_t *c)
{
#define X(member) atomic_store(&c->member, 0);
    SIM_SUMS(X)
#undef X
    atomic_store(&c->max_in_flight, atomic_load(&c->in_flight));
    atomic_store(&c->arrivals.max, 0);
    atomic_store(&c->arrivals.now, 0);
    atomic_store(&c->starts.max, 0);
    atomic_store(&c->starts.now, 0);
    for (size_t i = 0; i < PST_COUNT(c->status); i++)
        atomic_store(&c->status[i], 0);
}

void sim_counters_put(sim_counters_t *c, pst_buf_t *b)
{
#define X(member)                                                                                  \
    pst_buf_printf(b, "\"" #member "\":%llu,", (unsigned long long)atomic_load(&c->member));
    SIM_SUMS(X)
#undef X
    pst_buf_printf(b, "\"in_flight\":%lld,\"max_in_flight\":%lld,",
                   (long long)atomic_load(&c->in_flight),
                   (long long)atomic_load(&c->max_in_flight));
    pst_buf_printf(b, "\"max_per_second\":%llu,\"max_accepted_per_second\":%llu,\"by_status\":{",
                   (unsigned long long)atomic_load(&c->arrivals.max),
                   (unsigned long long)atomic_load(&c->starts.max));
    const char *comma = "";
    for (size_t i = 0; i < PST_COUNT(c->status); i++) {
        unsigned long long n = atomic_load(&c->status[i]);
        if (!n)
            continue;
        pst_buf_printf(b, "%s\"%zu\":%llu", comma, i + SIM_STATUS_MIN, n);
        comma = ",";
    }
    pst_buf_putc(b, '}');
}
