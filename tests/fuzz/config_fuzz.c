/* config_fuzz.c - a config is text that people write, and whatever it is, loading it must end in a config that
 * keeps its promises or in findings.  Input: the user's file; from a line that is "%%%" on, the catalog. */
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

#include "proc/config.h"

/* libfyaml 0.7.12 loses the buffer of a long quoted scalar in which the text turns out to be wrong. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml.so\n";
}

static const char catalog[] = "providers:\n"
                              "  openai: { api: openai, base_url: \"https://h/v1\", api_key: \"${HOME}\" }\n"
                              "models:\n"
                              "  m: &m [{ provider: openai, model: x, price: { input: 1, output: 2 } }]\n"
                              "  n: *m\n";

static void check(const pst_config_t *c)
{
    PST_ASSERT(c->providers_n <= 256 && c->endpoints_n <= 100000);
    for (uint32_t i = 0; i < c->providers_n; i++) {
        const pst_config_provider_t *p = &c->providers[i];
        PST_ASSERT(p->name && p->api && p->base_url && p->timeout > 0);
        PST_ASSERT(pst_config_provider_find(c, pst_view_str(p->name)) == (int)i);
    }
    for (uint32_t i = 0; i < c->models_n; i++) {
        const pst_config_model_t *m = &c->models[i];
        PST_ASSERT(m->count > 0 && m->first + m->count <= c->endpoints_n);
        PST_ASSERT(pst_config_model_find(c, pst_view_str(m->name)) == m);
        for (uint32_t j = 0; j < m->count; j++) {
            const pst_config_endpoint_t *e = &c->endpoints[m->first + j];
            PST_ASSERT(e->provider < c->providers_n && e->model && e->price.cached >= 0);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char cut[] = "\n%%%\n";
    const uint8_t *at = size ? memmem(data, size, cut, sizeof cut - 1) : NULL;
    pst_view_t user = pst_view(data, at ? (size_t)(at - data) : size);
    pst_view_t shipped = pst_view_str(catalog);
    if (at)
        shipped = pst_view(at + sizeof cut - 1, size - user.n - (sizeof cut - 1));
    pst_config_t *c = NULL;
    pst_config_errors_t errors = {0};
    pst_err_t e = pst_config_parse(user, "p.yaml", shipped, &c, &errors);
    PST_ASSERT((e == PST_OK) == (c != NULL) && (e == PST_OK) == (errors.count == 0));
    PST_ASSERT((errors.text != NULL) == (errors.count > 0));
    if (c)
        check(c);
    pst_config_destroy(&c);
    pst_config_errors_release(&errors);
    return 0;
}
