pst_unit(config pst_proc)
pst_unit(loop pst_proc)
pst_unit(prom pst_proc)
