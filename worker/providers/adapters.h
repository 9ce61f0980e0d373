/* adapters.h - the adapters, for registry.c. */
#ifndef PST_ADAPTERS_H
#define PST_ADAPTERS_H

#include "provider.h"

extern const pst_provider_t pst_provider_openai;
extern const pst_provider_t pst_provider_anthropic;
extern const pst_provider_t pst_provider_gemini;
extern const pst_provider_t pst_provider_echo;
extern const pst_provider_t pst_provider_cohere;
extern const pst_provider_t pst_provider_bedrock;
extern const pst_provider_t pst_provider_mistral;
extern const pst_provider_t pst_provider_azure;

#endif
