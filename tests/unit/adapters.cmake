# One binary an adapter: every case of fixtures/<adapter>/*.json is a test of its own.
add_library(adapter_fixture STATIC adapter_fixture.c)
target_link_libraries(adapter_fixture PUBLIC pst_providers PkgConfig::JANSSON PkgConfig::CMOCKA)
pst_unit(adapter_openai adapter_fixture)
pst_unit(adapter_anthropic adapter_fixture)
pst_unit(adapter_gemini adapter_fixture)
pst_unit(adapter_cohere adapter_fixture)
pst_unit(adapter_bedrock adapter_fixture)
pst_unit(adapter_echo adapter_fixture)
pst_unit(adapter_mistral adapter_fixture)
pst_unit(adapter_azure adapter_fixture)
pst_unit(adapter_delay pst_providers)
pst_unit(adapter_limits pst_providers)
pst_unit(adapter_registry pst_providers)
# Requests and answers that are drawn from seeds, there and back: many more of them with PST_NIGHTLY.
pst_unit(adapter_round pst_providers PkgConfig::JANSSON)
target_sources(adapter_round_test PRIVATE adapter_round_draw.c adapter_round_normal.c adapter_round_loss.c
  adapter_round_back.c adapter_round_back_openai.c adapter_round_write.c adapter_round_verbatim.c)
set_tests_properties(unit.adapter_round PROPERTIES TIMEOUT 600)
