#include "gateway/ui.h"

#include "base/list.h"
#include "gateway/parts.h"
#include "gateway/ui_events.h"
#include "gateway/sampler.h"
#include "lib/top.h"

#define FRESH PST_SEC          /* young enough for who asks once */
#define KNOWN (30 * PST_SEC)   /* for metrics: three steps of the history */

struct pst_ui {
    pst_gateway_t *g;
    pst_sampler_t *sampler;
    pst_events_t *events;
    pst_link_t waiting;      /* requests for the cluster */
};

typedef struct waiting {
    pst_link_t link;
    pst_req_t *r;
} waiting_t;

static bool is_restricted(const pst_req_t *r)
{
    return *pst_gw_tenant(r) != '\0';
}

/* The cluster. */

void pst_ui_put_cluster(pst_buf_t *b, const pst_top_t *t, bool restricted)
{
    if (!restricted) {
        pst_top_put_json(b, t);
        return;
    }
    pst_top_t none = {.wall_ms = t->wall_ms, .uptime_ms = t->uptime_ms};
    pst_top_put_json(b, &none);
    b->n -= b->n > 0; /* the brace */
    pst_buf_puts(b, ",\"restricted\":true}");
}

static void reply_cluster(pst_req_t *r, const pst_top_t *t)
{
    if (!t) {
        pst_reply_away(r);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_ui_put_cluster(&b, t, is_restricted(r));
    pst_reply_json(r, &b);
}

static void on_sample(void *arg, const pst_top_t *t)
{
    pst_ui_t *ui = arg;
    while (!pst_link_empty(&ui->waiting)) {
        waiting_t *w = PST_CONTAINER(ui->waiting.next, waiting_t, link);
        pst_link_remove(&w->link);
        reply_cluster(w->r, t);
    }
    pst_events_tell(ui->events, t);
}

static void waiting_gone(pst_req_t *r)
{
    waiting_t *w = r->state;
    pst_link_remove(&w->link);
    free(w);
}

void pst_ui_cluster(pst_req_t *r)
{
    pst_ui_t *ui = pst_gw(r)->ui;
    const pst_top_t *t = pst_sampler_top(ui->sampler, FRESH);
    waiting_t *w = t ? NULL : calloc(1, sizeof *w);
    if (!w) {
        reply_cluster(r, t);
        return;
    }
    w->r = r;
    pst_link_init(&w->link);
    pst_link_before(&ui->waiting, &w->link);
    pst_req_state(r, w, waiting_gone);
    pst_sampler_wish(ui->sampler);
}

void pst_ui_history(pst_req_t *r)
{
    const pst_history_t *h = pst_sampler_history(pst_gw(r)->ui->sampler);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    if (is_restricted(r))
        pst_buf_printf(&b, "{\"step_s\":%u,\"end\":0,\"endpoints\":[],\"providers\":[],\"restricted\":true}",
                       PST_HISTORY_STEP_S);
    else
        pst_history_put_json(h, &b);
    pst_reply_json(r, &b);
}

void pst_ui_events(pst_req_t *r)
{
    pst_ui_t *ui = pst_gw(r)->ui;
    pst_events_listen(ui->events, r, pst_sampler_top(ui->sampler, FRESH));
}

/* Life. */

static pst_ns_t turn(void *arg, pst_ns_t now)
{
    pst_ui_t *ui = arg;
    pst_ns_t next = pst_sampler_turn(ui->sampler, ui->g->remote, now, pst_events_listened(ui->events));
    return pst_ns_min(next, pst_events_turn(ui->events, now));
}

pst_ui_t *pst_ui_new(pst_gateway_t *g)
{
    pst_ui_t *ui = calloc(1, sizeof *ui);
    if (!ui)
        return NULL;
    ui->g = g;
    pst_link_init(&ui->waiting);
    ui->sampler = pst_sampler_new(g->loop, on_sample, ui);
    ui->events = pst_events_new(g);
    if (!ui->sampler || !ui->events) {
        pst_ui_destroy(&ui);
        return NULL;
    }
    pst_loop_prepare(g->loop, turn, ui);
    return ui;
}

void pst_ui_destroy(pst_ui_t **pui)
{
    pst_ui_t *ui = pst_take(pui);
    if (!ui)
        return;
    pst_sampler_destroy(&ui->sampler, ui->g->remote);
    pst_events_destroy(&ui->events);
    free(ui);
}

void pst_ui_quiesce(pst_ui_t *ui)
{
    pst_events_end(ui->events);
}

const pst_top_t *pst_ui_top(const pst_ui_t *ui)
{
    return pst_sampler_top(ui->sampler, KNOWN);
}
