/* adapter.h - an adapter called as the worker calls it, for a provider that the configuration says no options of. */
#ifndef BENCH_ADAPTER_H
#define BENCH_ADAPTER_H

#include <stdio.h>

#include "provider.h"

#define BENCH_UPSTREAM "gpt-test"

/* Of an adapter that asks others, or the end of the program. */
static inline const pst_provider_t *bench_adapter(const char *name)
{
    const pst_provider_t *p = pst_provider_find(pst_view_str(name));
    if (p && !p->internal)
        return p;
    fprintf(stderr, "bench: --api %s: no adapter has this name\n", name);
    exit(2);
}

static inline bool bench_adapter_parse(pst_json_t *tape, pst_view_t body)
{
    return !pst_json_parse(tape, body, NULL) && pst_json_is(tape, 0, PST_JSON_OBJECT);
}

/* The flags are those that the configuration guesses for an unknown host (proto/proc/config.c). */
static inline bool bench_adapter_build(const pst_provider_t *p, const pst_json_t *body, pst_arena_t *a,
                                       pst_task_t *ret_task, pst_http_req_t *ret)
{
    static const uint32_t unknown_host = PST_EP_MAX_TOKENS | PST_EP_NO_DEVELOPER | PST_EP_NO_STORE |
                                         PST_EP_NO_RESPONSES;
    pst_view_t why;
    *ret_task = (pst_task_t){
        .url = PST_URL_CHAT,
        .body = body,
        .endpoint = {.model = PST_VIEW_LIT(BENCH_UPSTREAM),
                     .flags = strcmp(p->name, "openai") == 0 ? unknown_host : 0},
        .random = 1,
        .wall_s = 1700000000,
    };
    memset(ret, 0, sizeof *ret);
    return !pst_provider_build(p, ret_task, a, ret, &why);
}

#endif
