#include "providers/adapters.h"

/* The order is that of `penstock check`; add at the end. */
static const pst_provider_t *const providers[] = {
    &pst_provider_openai,
    &pst_provider_anthropic,
    &pst_provider_gemini,
    &pst_provider_echo,
};

const pst_provider_t *pst_provider_at(unsigned i)
{
    return i < PST_COUNT(providers) ? providers[i] : NULL;
}

const pst_provider_t *pst_provider_find(pst_view_t name)
{
    for (unsigned i = 0; i < PST_COUNT(providers); i++) {
        if (pst_view_eqs(name, providers[i]->name))
            return providers[i];
    }
    return NULL;
}
