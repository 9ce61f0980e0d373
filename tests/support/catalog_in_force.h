/* catalog_in_force.h - the catalog that tests of the import have before it. */
#ifndef CATALOG_IN_FORCE_H
#define CATALOG_IN_FORCE_H

static const char catalog_in_force[] =
    "# what nobody reads\n"
    "providers:\n"
    "  openai: { api: openai, base_url: \"https://a/v1\", api_key: \"${T_KEY}\", options: [max_completion_tokens] }\n"
    "  anthropic: { api: anthropic, base_url: \"https://b/v1\", api_key: \"${T_KEY}\" }\n"
    "  # a word on the next\n"
    "  gemini: { api: gemini, base_url: \"https://c/v1beta\", api_key: \"${T_KEY}\" }\n"
    "  openrouter: { api: openai, base_url: \"https://d/v1\", api_key: \"${T_KEY}\", options: [no_developer] }\n"
    "  mistral: { api: openai, base_url: \"https://e/v1\", api_key: \"${T_KEY}\" }\n"
    "  deepseek: { api: openai, base_url: \"https://f/v1\", api_key: \"${T_KEY}\" }\n"
    "  groq: { api: openai, base_url: \"https://g/v1\", api_key: \"${T_KEY}\" }\n"
    "  together: { api: openai, base_url: \"https://h/v1\", api_key: \"${T_KEY}\" }\n"
    "  fireworks: { api: openai, base_url: \"https://i/v1\", api_key: \"${T_KEY}\" }\n"
    "  xai: { api: openai, base_url: \"https://j/v1\", api_key: \"${T_KEY}\" }\n"
    "\n"
    "# and the models\n"
    "models:\n"
    "  anthropic/claude-opus-5-5: &opus\n"
    "    - { provider: anthropic, model: claude-opus-5-5, options: [no_sampling] }\n"
    "    - { provider: openrouter, model: anthropic/claude-opus-5.5 }\n"
    "  anthropic/claude-opus-5.5: *opus\n"
    "  z-ai/glm-5.3: [{ provider: fireworks, model: accounts/fireworks/models/glm-5p3 }]\n"
    "  old/gone: [{ provider: openai, model: gone, price: { input: 1, output: 1 } }]\n";

#endif
