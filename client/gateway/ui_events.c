#include "gateway/ui_events.h"

#include <stdio.h>

#include "base/list.h"
#include "gateway/list.h"
#include "gateway/ui.h"

#define LISTENERS_MAX 256u
#define BATCHES_MAX 50u
#define EVERY PST_SEC

typedef struct text {
    unsigned holds;
    size_t n;
    char p[];
} text_t;

typedef enum kind { KIND_CLUSTER, KIND_BATCHES, KINDS } kind_t;

/* Those who see the same batches. */
typedef struct audience {
    pst_link_t link;         /* in events.audiences */
    pst_events_t *events;
    char tenant[PST_NAME_BYTES_MAX + 1];
    pst_link_t listeners;
    pst_batch_page_t *page;  /* on its way */
    text_t *batches;         /* as they were told last */
} audience_t;

typedef struct listener {
    pst_link_t link;         /* in audience.listeners */
    audience_t *audience;
    pst_req_t *r;
    text_t *now;             /* being written, from `at` on */
    size_t at;
    text_t *next[KINDS];
    bool over;
} listener_t;

struct pst_events {
    pst_gateway_t *g;
    pst_link_t audiences;
    uint32_t listeners;
    pst_ns_t due;
    bool ended;
};

/* Texts. */

static text_t *hold(text_t *t)
{
    if (t)
        t->holds++;
    return t;
}

static void let_go(text_t **pt)
{
    text_t *t = pst_take(pt);
    if (t && --t->holds == 0)
        free(t);
}

/* A line end in what was spliced in (a batch's metadata) would end the event's line; in JSON it is but a space. */
static text_t *text_new(const char *name, const pst_buf_t *json)
{
    static const char form[] = "event: %s\ndata: ";
    size_t most = sizeof form + strlen(name) + json->n + 2;
    text_t *t = json->failed ? NULL : malloc(sizeof *t + most);
    if (!t)
        return NULL;
    t->holds = 1;
    t->n = (size_t)snprintf(t->p, most, form, name);
    for (size_t i = 0; i < json->n; i++)
        t->p[t->n++] = json->p[i] == '\n' || json->p[i] == '\r' ? ' ' : json->p[i];
    t->p[t->n++] = '\n';
    t->p[t->n++] = '\n';
    return t;
}

static text_t *cluster_text(const pst_top_t *t, bool restricted)
{
    pst_buf_t b;
    pst_buf_init(&b, 0);
    if (t)
        pst_ui_put_cluster(&b, t, restricted);
    else
        pst_error_body(&b, PST_DIALECT_OPENAI, 503, "service_unavailable", NULL,
                       PST_VIEW_LIT("The broker does not answer."), NULL);
    text_t *text = text_new("cluster", &b);
    pst_buf_release(&b);
    return text;
}

/* Telling. */

static void tell(listener_t *l, kind_t kind, text_t *t)
{
    let_go(&l->next[kind]);
    l->next[kind] = hold(t);
    pst_req_wake(l->r);
}

static void tell_audience(audience_t *a, kind_t kind, text_t *t)
{
    for (pst_link_t *x = a->listeners.next; x != &a->listeners; x = x->next)
        tell(PST_CONTAINER(x, listener_t, link), kind, t);
}

void pst_events_tell(pst_events_t *e, const pst_top_t *t)
{
    text_t *whole = NULL, *restricted = NULL;
    for (pst_link_t *x = e->audiences.next; x != &e->audiences; x = x->next) {
        audience_t *a = PST_CONTAINER(x, audience_t, link);
        text_t **of = *a->tenant ? &restricted : &whole;
        if (!*of)
            *of = cluster_text(t, *a->tenant);
        if (*of)
            tell_audience(a, KIND_CLUSTER, *of);
    }
    let_go(&whole);
    let_go(&restricted);
}

static ptrdiff_t pull(pst_req_t *r, char *to, size_t room)
{
    listener_t *l = r->state;
    for (unsigned k = 0; k < KINDS && !l->now; k++) {
        l->now = pst_take(&l->next[k]);
        l->at = 0;
    }
    if (!l->now || l->over)
        return l->over ? PST_PULL_END : PST_PULL_WAIT;
    size_t n = PST_MIN(room, l->now->n - l->at);
    memcpy(to, l->now->p + l->at, n);
    l->at += n;
    if (l->at == l->now->n)
        let_go(&l->now);
    return (ptrdiff_t)n;
}

/* Batches. */

static void on_page(void *arg, const pst_batch_page_t *p, bool ok)
{
    audience_t *a = arg;
    pst_buf_t b;
    pst_buf_init(&b, 0);
    if (ok)
        pst_batch_page_put(p, pst_batch_put_json, &b);
    text_t *t = ok ? text_new("batches", &b) : NULL;
    pst_buf_release(&b);
    pst_batch_page_forget(&a->page);
    bool known = t && a->batches && t->n == a->batches->n && memcmp(t->p, a->batches->p, t->n) == 0;
    if (t && !known) {
        tell_audience(a, KIND_BATCHES, t);
        let_go(&a->batches);
        a->batches = hold(t);
    }
    let_go(&t);
}

static void ask_batches(audience_t *a)
{
    pst_gateway_t *g = a->events->g;
    if (!a->page && pst_db_is_up(g->db))
        a->page = pst_batch_page_new(g, a->tenant, NULL, BATCHES_MAX, on_page, a);
}

/* Audiences. */

static audience_t *audience_of(pst_events_t *e, const char *tenant)
{
    for (pst_link_t *x = e->audiences.next; x != &e->audiences; x = x->next) {
        audience_t *a = PST_CONTAINER(x, audience_t, link);
        if (strcmp(a->tenant, tenant) == 0)
            return a;
    }
    audience_t *a = calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->events = e;
    snprintf(a->tenant, sizeof a->tenant, "%s", tenant);
    pst_link_init(&a->listeners);
    pst_link_init(&a->link);
    pst_link_before(&e->audiences, &a->link);
    return a;
}

static void audience_free(audience_t *a)
{
    pst_link_remove(&a->link);
    pst_batch_page_forget(&a->page);
    let_go(&a->batches);
    free(a);
}

/* Listeners. */

static void listener_gone(pst_req_t *r)
{
    listener_t *l = r->state;
    audience_t *a = l->audience;
    a->events->listeners--;
    pst_link_remove(&l->link);
    let_go(&l->now);
    for (unsigned k = 0; k < KINDS; k++)
        let_go(&l->next[k]);
    free(l);
    if (pst_link_empty(&a->listeners))
        audience_free(a);
}

static listener_t *listener_new(pst_events_t *e, pst_req_t *r)
{
    audience_t *a = audience_of(e, pst_gw_tenant(r));
    listener_t *l = a ? calloc(1, sizeof *l) : NULL;
    if (!l) {
        if (a && pst_link_empty(&a->listeners))
            audience_free(a);
        return NULL;
    }
    *l = (listener_t){.audience = a, .r = r, .over = e->ended};
    pst_link_init(&l->link);
    pst_link_before(&a->listeners, &l->link);
    e->listeners++;
    pst_req_state(r, l, listener_gone);
    return l;
}

void pst_events_listen(pst_events_t *e, pst_req_t *r, const pst_top_t *t)
{
    listener_t *l = e->listeners < LISTENERS_MAX ? listener_new(e, r) : NULL;
    if (!l) {
        pst_reply_error(r, 503, "overloaded", NULL, "%u pages listen already: close some.", e->listeners);
        return;
    }
    pst_req_answer_header(r, "cache-control", "no-cache");
    pst_req_answer_header(r, "x-accel-buffering", "no");
    pst_req_stream(r, 200, "text/event-stream; charset=utf-8", UINT64_MAX, pull);
    text_t *cluster = t ? cluster_text(t, *l->audience->tenant) : NULL;
    if (cluster)
        tell(l, KIND_CLUSTER, cluster);
    let_go(&cluster);
    if (l->audience->batches)
        tell(l, KIND_BATCHES, l->audience->batches);
    else
        ask_batches(l->audience);
}

/* One in the middle of a text has perhaps been there for long, and would stay. */
static void end(listener_t *l)
{
    l->over = true;
    if (l->now)
        pst_req_cut(l->r);
    else
        pst_req_wake(l->r);
}

void pst_events_end(pst_events_t *e)
{
    if (e->ended)
        return;
    e->ended = true;
    for (pst_link_t *x = e->audiences.next; x != &e->audiences; x = x->next) {
        audience_t *a = PST_CONTAINER(x, audience_t, link);
        for (pst_link_t *y = a->listeners.next; y != &a->listeners; y = y->next)
            end(PST_CONTAINER(y, listener_t, link));
    }
}

/* A key that was revoked meanwhile, or has expired, hears no more. */
static void look_at_keys(audience_t *a)
{
    for (pst_link_t *x = a->listeners.next; x != &a->listeners; x = x->next) {
        listener_t *l = PST_CONTAINER(x, listener_t, link);
        if (!l->over && !pst_caller_stands(l->r))
            end(l);
    }
}

/* Life. */

pst_events_t *pst_events_new(pst_gateway_t *g)
{
    pst_events_t *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->g = g;
    pst_link_init(&e->audiences);
    return e;
}

void pst_events_destroy(pst_events_t **pe)
{
    pst_events_t *e = pst_take(pe);
    if (!e)
        return;
    PST_ASSERT(pst_link_empty(&e->audiences));
    free(e);
}

bool pst_events_listened(const pst_events_t *e)
{
    return e->listeners > 0;
}

pst_ns_t pst_events_turn(pst_events_t *e, pst_ns_t now)
{
    if (!e->listeners)
        return PST_NEVER;
    if (now < e->due)
        return e->due;
    e->due = pst_ns_add(now, EVERY);
    for (pst_link_t *x = e->audiences.next; x != &e->audiences; x = x->next) {
        audience_t *a = PST_CONTAINER(x, audience_t, link);
        look_at_keys(a);
        ask_batches(a);
    }
    return e->due;
}
