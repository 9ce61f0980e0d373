pst_fuzz(config config_fuzz.c pst_proc)
