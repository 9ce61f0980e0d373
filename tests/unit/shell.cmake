# Tests of broker/shell that need no other process; the rest is tests/integ.
pst_unit(shell_config pst_broker_shell pst_providers)
pst_unit(shell_sessions pst_broker_shell PkgConfig::ZMQ)
