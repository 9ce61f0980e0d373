# One binary an adapter: every case of fixtures/<adapter>/*.json is a test of its own.
add_library(adapter_fixture STATIC adapter_fixture.c)
target_link_libraries(adapter_fixture PUBLIC pst_providers PkgConfig::JANSSON PkgConfig::CMOCKA)
pst_unit(adapter_openai adapter_fixture)
pst_unit(adapter_anthropic adapter_fixture)
pst_unit(adapter_gemini adapter_fixture)
pst_unit(adapter_echo adapter_fixture)
pst_unit(adapter_delay pst_providers)
pst_unit(adapter_registry pst_providers)
