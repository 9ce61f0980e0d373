pst_fuzz(reply reply_fuzz.c pst_worker)
pst_fuzz(headers headers_fuzz.c pst_worker)
