/* fair.c - whose turn is next.
 *
 * Three levels: priorities, the highest first; in a priority tenants, then a tenant's batches, who has been sent the least
 * work first.  Work is tokens, and counts half after each WORK_HALF_LIFE: who had a machine to himself for an hour owes
 * nothing for it a minute later.  This is deficit round robin with a memory: over any stretch in which all have jobs they
 * get the same tokens, whatever the sizes of their jobs, and also where one's jobs can go to endpoints that another's
 * cannot, which a ring of turns does not give.
 *
 * Who comes (back) stands level with the one who has had the least so far: he is next, but is not given what he missed.
 * So a batch of ten jobs waits for one turn, however many millions of jobs stand before it.
 *
 * The order is kept in heaps: core->ready of routes, route->shares of tenants, share->flows of batches.  Work only grows, so
 * a key in a heap is never too large: what comes to the top with a key that is out of date is put back with the right
 * one.  Sums age without being touched: what is sent now counts more than what was sent before (core->inflation). */
#include "core/internal.h"

#define INFLATION_MAX 1e100 /* then everything is divided by it */
#define CROWD_SHARE 4       /* a quarter of the memory for packs */

/* Two bits make way for the priority. */
static uint64_t turn_key(uint8_t priority, double work)
{
    return (uint64_t)(PST_PRIORITY_COUNT - 1 - priority) << 62 | core_order(work) >> 2;
}

/* Who has his turn comes before those who have had as little. */
static uint64_t batch_key(const batch_t *b)
{
    return turn_key(0, b->work) - b->in_turn;
}

static flow_t *flow_at(const pst_heap_node_t *n)
{
    return PST_CONTAINER(n, flow_t, node);
}

static uint64_t share_key(const pst_heap_node_t *n)
{
    const share_t *s = PST_CONTAINER(n, share_t, node);
    return turn_key(s->priority, s->tenant->work);
}

static uint64_t flow_key(const pst_heap_node_t *n)
{
    return batch_key(flow_at(n)->batch);
}

static uint64_t route_key(const pst_heap_node_t *n)
{
    uint64_t key;
    PST_ASSERT(fair_turn(PST_CONTAINER(n, route_t, node), &key)); /* a route without active flows is not ready */
    return key;
}

/* Who is first by the keys as they are now; NULL if there is none. */
static inline pst_heap_node_t *first_of(pst_heap_t *h, uint64_t (*key_of)(const pst_heap_node_t *n))
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(h)) != NULL) {
        uint64_t key = key_of(top);
        if (key <= top->key)
            break;
        pst_heap_set(h, top, key);
    }
    return top;
}

share_t *fair_share(route_t *r)
{
    pst_heap_node_t *n = first_of(&r->shares, share_key);
    return n ? PST_CONTAINER(n, share_t, node) : NULL;
}

flow_t *fair_flow(share_t *s)
{
    pst_heap_node_t *n = first_of(&s->flows, flow_key);
    return n ? flow_at(n) : NULL;
}

bool fair_turn(route_t *r, uint64_t *ret_key)
{
    const share_t *s = fair_share(r);
    if (s)
        *ret_key = s->node.key;
    return s != NULL;
}

route_t *fair_route(pst_core_t *c)
{
    pst_heap_node_t *n = first_of(&c->ready, route_key);
    return n ? PST_CONTAINER(n, route_t, node) : NULL;
}

/* ---- tenants and shares -------------------------------------------------------------------------------------------- */

tenant_t *fair_tenant(pst_core_t *c, pst_view_t name)
{
    char key[16];
    core_key(name, 3, key);
    tenant_t *t = pst_map_get(&c->tenants, key, 16);
    if (!t) {
        t = pst_calloc(1, sizeof *t);
        t->name = pst_strdup_view(name);
        pst_map_set(&c->tenants, key, 16, t);
    }
    t->batches++;
    return t;
}

void fair_tenant_put(pst_core_t *c, tenant_t *t)
{
    if (--t->batches > 0)
        return;
    char key[16];
    core_key(pst_view_str(t->name), 3, key);
    pst_map_remove(&c->tenants, key, 16);
    free(t->name);
    free(t);
}

share_t *fair_join(route_t *r, tenant_t *t, uint8_t priority)
{
    for (pst_link_t *x = r->all_shares.next; x != &r->all_shares; x = x->next) {
        share_t *s = PST_CONTAINER(x, share_t, of_route);
        if (s->tenant == t && s->priority == priority) {
            s->refs++;
            return s;
        }
    }
    share_t *s = pst_calloc_line(sizeof *s);
    pst_heap_node_init(&s->node);
    pst_heap_init(&s->flows);
    pst_link_init(&s->of_route);
    s->tenant = t;
    s->route = r;
    s->priority = priority;
    s->refs = 1;
    pst_link_after(&r->all_shares, &s->of_route); /* the latest is asked for first */
    return s;
}

void fair_part(share_t *s)
{
    if (--s->refs > 0)
        return;
    PST_ASSERT(!pst_heap_has(&s->node) && s->flows.n == 0);
    pst_link_remove(&s->of_route);
    pst_heap_release(&s->flows);
    free(s);
}

/* ---- coming and going ----------------------------------------------------------------------------------------------- */

void fair_turn_over(batch_t *b)
{
    b->in_turn = false;
    b->work += b->owed;
    b->tenant->work += b->owed;
    b->owed = 0;
}

static void stand_level(double *work, double least)
{
    *work = PST_MAX(*work, least);
}

/* The one of two who has had less, of those with such a priority. */
static const share_t *lesser(const share_t *a, const share_t *b, uint8_t priority)
{
    if (!b || b->priority != priority)
        return a;
    return !a || b->tenant->work < a->tenant->work ? b : a;
}

/* Who has had the least of those that wait for the same: in this route, or in others at the same places. */
static const share_t *least_beside(pst_core_t *c, const share_t *s)
{
    const route_t *r = s->route;
    const share_t *least = lesser(NULL, fair_share(s->route), s->priority);
    for (uint32_t i = 0; i < r->candidates_n; i++) {
        endpoint_t *e = c->endpoints[r->candidates[i]->endpoint];
        least = lesser(least, place_next(&e->place), s->priority);
        least = lesser(least, place_next(&c->providers[e->provider]->place), s->priority);
    }
    return least;
}

static void enter_share(pst_core_t *c, share_t *s)
{
    tenant_t *t = s->tenant;
    const share_t *least = t->flows == 0 ? least_beside(c, s) : NULL;
    if (least)
        stand_level(&t->work, least->tenant->work);
    pst_heap_set(&s->route->shares, &s->node, share_key(&s->node));
}

void fair_enter(pst_core_t *c, flow_t *f)
{
    share_t *s = f->share;
    batch_t *b = f->batch;
    const flow_t *next = fair_flow(s);
    if (next && b->flows_active == 0 && !b->in_turn)
        stand_level(&b->work, next->batch->work);
    pst_heap_set(&s->flows, &f->node, batch_key(b));
    if (!pst_heap_has(&s->node))
        enter_share(c, s);
    s->tenant->flows++;
    b->flows_active++;
    c->flows_active++;
}

void fair_leave(pst_core_t *c, flow_t *f)
{
    share_t *s = f->share;
    pst_heap_remove(&s->flows, &f->node);
    if (s->flows.n == 0)
        pst_heap_remove(&s->route->shares, &s->node);
    s->tenant->flows--;
    f->batch->flows_active--;
    c->flows_active--;
}

/* ---- work ------------------------------------------------------------------------------------------------------------- */

/* Every flow anew: keys that were out of date by different amounts need not be in order once they are right. */
static void rekey_flows(share_t *s)
{
    pst_heap_t old = s->flows;
    pst_heap_init(&s->flows);
    for (uint32_t i = 0; i < old.n; i++) {
        old.v[i].node->at = PST_HEAP_OUT;
        pst_heap_set(&s->flows, old.v[i].node, flow_key(old.v[i].node));
    }
    free(old.v);
}

static void rekey(pst_core_t *c, route_t *r)
{
    for (pst_link_t *x = r->all_shares.next; x != &r->all_shares; x = x->next) {
        share_t *s = PST_CONTAINER(x, share_t, of_route);
        rekey_flows(s);
        if (pst_heap_has(&s->node))
            pst_heap_set(&r->shares, &s->node, share_key(&s->node));
    }
    uint64_t key = 0;
    fair_turn(r, &key);
    if (pst_heap_has(&r->node))
        pst_heap_set(&c->ready, &r->node, key);
    for (uint32_t i = 0; i < r->candidates_n; i++)
        if (r->candidates[i]->place)
            pst_heap_set(&r->candidates[i]->place->waiting, &r->candidates[i]->node, key);
}

/* The sums have grown so large that they are brought back: every one by the same measure. */
static void deflate(pst_core_t *c)
{
    uint32_t i = 0;
    for (tenant_t *t; (t = pst_map_next(&c->tenants, &i)) != NULL;)
        t->work /= c->inflation_base;
    i = 0;
    for (batch_t *b; (b = pst_map_next(&c->batches, &i)) != NULL;) {
        b->work /= c->inflation_base;
        b->owed /= c->inflation_base;
    }
    c->inflation_base = 1;
    for (i = 0; i < c->routes_n; i++)
        if (c->routes[i])
            rekey(c, c->routes[i]);
}

/* Doubles with each half-life, in a straight line between. */
void fair_age(pst_core_t *c)
{
    if (c->inflation_base == 0) {
        c->inflation_base = 1;
        c->inflated_at = c->now;
    }
    while (c->now - c->inflated_at >= WORK_HALF_LIFE) {
        c->inflation_base *= 2;
        c->inflated_at += WORK_HALF_LIFE;
        if (c->inflation_base > INFLATION_MAX)
            deflate(c);
    }
    c->inflation = c->inflation_base * (1 + (double)(c->now - c->inflated_at) / (double)WORK_HALF_LIFE);
}

/* While a batch has its turn what it is sent does not count yet: it stays the next until the turn is over. */
void fair_count(pst_core_t *c, batch_t *b, uint64_t tokens)
{
    b->owed += (double)tokens * c->inflation;
    if (!b->in_turn)
        fair_turn_over(b);
}

/* Turns of one job each, round and round, would have each read its pack back for it where the packs of all who wait do not
 * fit into memory. */
bool fair_crowded(const pst_core_t *c)
{
    uint64_t pack = c->gauge.packs_open ? c->open_bytes / c->gauge.packs_open : 0;
    return (uint64_t)c->flows_active * pack > c->opts.open_bytes_max / CROWD_SHARE;
}
