# Parts of the simulated provider, which the tests of everything else lean on.
pst_unit(sim_provider pst_sim_provider_parts)
pst_unit(sim_wire pst_sim_provider_parts)
