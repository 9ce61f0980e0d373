/* models.c - /v1/models: the names that the configuration serves and the key may ask for.  A provider also serves
 * "<provider>/<upstream name>" of models that nobody has listed; those are found by asking for them, not here. */
#include <stdio.h>

#include "base/json.h"
#include "gateway/parts.h"
#include "lib/text.h"

static void put_model(pst_buf_t *b, const pst_gateway_t *g, const char *name)
{
    const char *slash = strchr(name, '/');
    pst_json_put_comma(b);
    pst_buf_putc(b, '{');
    pst_member_str(b, "id", name);
    pst_member_str(b, "object", "model");
    pst_member_uint(b, "created", g->started_s);
    pst_json_put_key(b, "owned_by");
    pst_json_put_str(b, slash ? pst_view(name, (size_t)(slash - name)) : PST_VIEW_LIT("penstock"));
    pst_buf_putc(b, '}');
}

static bool may_ask_for(const pst_req_t *r, pst_view_t model)
{
    const pst_key_t *key = pst_caller_key(r);
    return !key || pst_key_allows_model(key, model);
}

void pst_models_list(pst_req_t *r)
{
    const pst_gateway_t *g = pst_gw(r);
    pst_buf_t b;
    pst_buf_init(&b, 0);
    pst_buf_puts(&b, "{\"object\":\"list\",\"data\":[");
    for (uint32_t i = 0; i < g->opts.config->models_n; i++) {
        const char *name = g->opts.config->models[i].name;
        if (may_ask_for(r, pst_view_str(name)))
            put_model(&b, g, name);
    }
    pst_buf_puts(&b, "]}");
    pst_reply_json(r, &b);
}

static void show(pst_req_t *r, pst_view_t name)
{
    const pst_gateway_t *g = pst_gw(r);
    const pst_config_model_t *m = pst_config_model_find(g->opts.config, name);
    if (!m || !may_ask_for(r, name)) {
        pst_reply_error(r, 404, "model_not_found", "model", "The model '%.*s' does not exist or you do not have access to it.",
                        (int)PST_MIN(name.n, 200u), name.p);
        return;
    }
    pst_buf_t b;
    pst_buf_init(&b, 0);
    put_model(&b, g, m->name);
    pst_reply_json(r, &b);
}

void pst_models_get(pst_req_t *r)
{
    show(r, r->segment[0]);
}

/* Names have a slash in them, which clients escape or do not. */
void pst_models_get_of_lab(pst_req_t *r)
{
    char name[512];
    int n = snprintf(name, sizeof name, "%.*s/%.*s", (int)PST_MIN(r->segment[0].n, 250u), r->segment[0].p,
                     (int)PST_MIN(r->segment[1].n, 250u), r->segment[1].p);
    show(r, pst_view(name, (size_t)n));
}
