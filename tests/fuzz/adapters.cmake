pst_fuzz(adapter adapter_fuzz.c pst_providers)
