#include "gateway/record.h"

#include <stdio.h>
#include <stdlib.h>

const char *const pst_record_fields[PST_RECORD_FIELDS] = {
#define X(name) [PST_RECORD_##name] = #name,
    PST_RECORD_LIST(X)
#undef X
};

pst_cmd_t *pst_record_cmd(const char *batch, pst_cmd_fn *fn, void *arg)
{
    return pst_db_fields("batch", batch, pst_record_fields, PST_RECORD_FIELDS, fn, arg);
}

bool pst_record_read(const redisReply *r, pst_arena_t *a, pst_record_t *ret)
{
    if (!r || r->type != REDIS_REPLY_ARRAY || r->elements != PST_RECORD_FIELDS ||
        r->element[PST_RECORD_state]->type != REDIS_REPLY_STRING)
        return false;
    const char *text[PST_RECORD_FIELDS];
    for (size_t i = 0; i < PST_RECORD_FIELDS; i++) {
        const redisReply *e = r->element[i];
        const char *copy = e->type == REDIS_REPLY_STRING ? pst_arena_copy(a, pst_view(e->str, e->len)).p : NULL;
        text[i] = copy ? copy : "";
    }
#define X(name) ret->name = text[PST_RECORD_##name];
    PST_RECORD_LIST(X)
#undef X
    return true;
}

uint64_t pst_record_number(const char *text)
{
    return strtoull(text, NULL, 10);
}

static const char *status_of(const pst_record_t *r)
{
    if (strcmp(r->state, "failed") == 0 || strcmp(r->state, "cancelled") == 0)
        return r->state;
    return *r->cancel_ms ? "cancelling" : "validating";
}

void pst_record_batch(const pst_record_t *r, const char *id, pst_batch_t *ret)
{
    const char *status = status_of(r);
    *ret = (pst_batch_t){.status = status,
                         .ended = strcmp(status, r->state) == 0,
                         .priority = *r->priority ? r->priority : "normal",
                         .metadata = *r->metadata ? r->metadata : NULL,
                         .name = r->name,
                         .tenant = r->tenant,
                         .created_ms = pst_record_number(r->created_ms),
                         .cancelling_ms = pst_record_number(r->cancel_ms),
                         .ended_ms = pst_record_number(r->ended_ms),
                         .window_s = pst_window_seconds(r->window),
                         .max_cost_usd = strtod(*r->max_cost ? r->max_cost : "0", NULL)};
    ret->ended = ret->ended && strcmp(status, "validating") != 0;
    ret->jobs = pst_record_number(r->requests);
    ret->failed = strcmp(status, "failed") == 0 ? ret->jobs : 0;
    ret->cancelled = strcmp(status, "cancelled") == 0 ? ret->jobs : 0;
    ret->expires_ms = ret->created_ms + ret->window_s * 1000;
    snprintf(ret->id, sizeof ret->id, "%s", id);
}

pst_batch_made_t pst_record_made(const pst_record_t *r)
{
    return (pst_batch_made_t){.input_file_id = *r->file ? r->file : NULL,
                              .endpoint = *r->endpoint ? r->endpoint : NULL,
                              .completion_window = *r->window ? r->window : NULL,
                              .errors = *r->errors ? r->errors : NULL};
}

#define WINDOW_MAX (365u * 86400u)

uint64_t pst_window_seconds(const char *text)
{
    static const struct {
        char unit;
        uint64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'\0', 1}};
    char *end;
    if (*text < '0' || *text > '9')
        return 0;
    uint64_t n = strtoull(text, &end, 10);
    for (size_t i = 0; i < PST_COUNT(units); i++) {
        if (*end == units[i].unit && (!*end || !end[1]) && n <= WINDOW_MAX / units[i].s)
            return n * units[i].s;
    }
    return 0;
}
