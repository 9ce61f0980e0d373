/* place.c - waiting for capacity.
 *
 * A candidate that cannot take its route's next job waits at the place that lacks the room: its endpoint's (rest, calls at
 * a time, budget) or its provider's (the same for the account, and workers).  When a place may have room again it is
 * woken, and lets go the one candidate whose route's turn is next; when that route has had its turn, and there is
 * still room, the next.  So a free place costs one visit, not one of every route that waits, and the fair order
 * holds among them. */
#include "core/internal.h"

void place_init(place_t *p, provider_t *provider, endpoint_t *endpoint)
{
    pst_heap_init(&p->waiting);
    pst_link_init(&p->awake);
    p->provider = provider;
    p->endpoint = endpoint;
}

void place_release(place_t *p)
{
    pst_link_remove(&p->awake);
    pst_heap_release(&p->waiting);
}

static candidate_t *at(const pst_heap_node_t *n)
{
    return PST_CONTAINER(n, candidate_t, node);
}

void place_wake(pst_core_t *c, place_t *p)
{
    if (p->waiting.n && p->closed_until <= c->now && pst_link_empty(&p->awake)) {
        __builtin_prefetch(p->waiting.v);
        pst_link_before(&c->awake, &p->awake);
    }
}

static void passed_on(pst_core_t *c, candidate_t *k)
{
    pst_link_remove(&k->woken);
    place_wake(c, pst_take(&k->woken_by));
}

void place_wait(pst_core_t *c, candidate_t *k, place_t *p)
{
    route_t *r = k->route;
    uint64_t key = 0;
    fair_turn(r, &key);
    pst_heap_remove(&r->groups[k->group].ready, &k->node);
    if (k->woken_by == p) { /* there is no room for this one: those behind it do not overtake */
        pst_link_remove(&k->woken);
        k->woken_by = NULL;
    } else if (k->woken_by) {
        passed_on(c, k); /* it lacks something else: the room is for others */
    }
    k->place = p;
    pst_heap_set(&p->waiting, &k->node, key);
}

void place_leave(candidate_t *k)
{
    if (k->place)
        pst_heap_remove(&k->place->waiting, &k->node);
    k->place = NULL;
}

/* May one more call begin there, of such a priority?  A candidate that has been let go looks again, with its job. */
static bool has_room(pst_core_t *c, const place_t *p, uint8_t priority)
{
    if (p->endpoint)
        return endpoint_free(c, p->endpoint, priority) && bucket_may(c, p->endpoint->bucket);
    return provider_free(c, p->provider, priority) && bucket_may(c, p->provider->bucket);
}

/* The one whose turn is next.  A route that has nothing to send need not wait any more. */
static candidate_t *front(place_t *p, share_t **ret_share)
{
    pst_heap_node_t *top;
    while ((top = pst_heap_top(&p->waiting)) != NULL) {
        candidate_t *k = at(top);
        *ret_share = fair_share(k->route);
        if (!*ret_share)
            route_candidate_in(k);
        else if ((*ret_share)->node.key > top->key)
            pst_heap_set(&p->waiting, top, (*ret_share)->node.key);
        else
            return k;
    }
    return NULL;
}

const share_t *place_next(place_t *p)
{
    share_t *s;
    return front(p, &s) ? s : NULL;
}

void place_let_go(pst_core_t *c)
{
    for (uint32_t i = 0; !pst_link_empty(&c->awake); i++) {
        if (i % FETCH_AHEAD == 0)
            fetch_awake(c);
        place_t *p = PST_CONTAINER(c->awake.next, place_t, awake);
        pst_link_remove(&p->awake);
        share_t *s;
        candidate_t *k = front(p, &s);
        if (!k || !has_room(c, p, s->priority))
            continue;
        route_candidate_in(k);
        k->woken_by = p;
        pst_link_before(&k->route->woken, &k->woken);
        route_ready(c, k->route);
    }
}

/* The route has had its turn: what is left of the room that let its candidates go is for the next. */
void place_pass_on(pst_core_t *c, route_t *r)
{
    while (!pst_link_empty(&r->woken))
        passed_on(c, PST_CONTAINER(r->woken.next, candidate_t, woken));
}
