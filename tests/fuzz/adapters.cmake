pst_fuzz(adapter adapter_fuzz.c pst_providers)
pst_fuzz(stream stream_fuzz.c pst_providers)
