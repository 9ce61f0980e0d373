pst_unit(worker_packs pst_worker PkgConfig::ZSTD)
pst_unit(worker_reply pst_worker PkgConfig::ZLIB)
pst_unit(worker_memory pst_worker)
pst_unit(worker_http pst_worker PkgConfig::ZLIB)
pst_unit(worker_sigv4 pst_worker)
pst_unit(worker_outbox pst_worker PkgConfig::ZSTD)
pst_unit(worker_pieces pst_worker)

# A broker that only a worker can see; each scenario is a test with the real penstock-worker.
add_executable(fake_broker ${PROJECT_SOURCE_DIR}/tests/support/fake_broker.c)
target_link_libraries(fake_broker PRIVATE pst_codec pst_proc PkgConfig::ZMQ PkgConfig::XXHASH)
function(pst_worker_test kind scenario)
  add_test(NAME worker.${kind}.${scenario}
    COMMAND fake_broker --worker $<TARGET_FILE:penstock-worker>
            --config ${CMAKE_CURRENT_BINARY_DIR}/worker_${kind}_${scenario}.yaml ${ARGN} ${scenario})
  set_tests_properties(worker.${kind}.${scenario} PROPERTIES TIMEOUT 60)
endfunction()
set(slow_echo "providers: { echo: { api: echo, delay: 300ms, limits: { concurrency: 64 } } }\n")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/worker_link_plain.yaml
  "providers: { echo: { api: echo, limits: { concurrency: 512 } } }\n")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/worker_link_faults.yaml
  "providers: { echo: { api: echo, delay: 5ms, limits: { concurrency: 200 } } }\n")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/worker_link_revoke.yaml "${slow_echo}")
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/worker_link_drain.yaml "${slow_echo}")
pst_worker_test(link plain --jobs 20000)
pst_worker_test(link faults --jobs 6000 --every 400)
pst_worker_test(link revoke --jobs 200 --over 4)
pst_worker_test(link drain --jobs 2000 --over 40)
pst_worker_test(link reload --jobs 500)

# The same over HTTP, with the simulated provider.
set(sim --sim $<TARGET_FILE:pst-sim-provider> --provider sim)
pst_worker_test(http plain ${sim} --jobs 2000 --fault 0.03)
pst_worker_test(http faults ${sim} --jobs 4000 --every 300 --concurrency 200)
pst_worker_test(http revoke ${sim} --jobs 200 --over 4 --latency-ms 200)
pst_worker_test(http drain ${sim} --jobs 2000 --over 40 --latency-ms 200)

# Answers in pieces: of a provider that streams, of one that does not, over HTTP/1.1, TLS and HTTP/2.
file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/worker_link_stream.yaml
  "providers: { echo: { api: echo, limits: { concurrency: 512 } } }\n")
pst_worker_test(link stream --jobs 500)
pst_worker_test(http stream ${sim} --jobs 400 --concurrency 400)
pst_worker_test(http lost ${sim} --jobs 40)
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/worker_http2_stream ${CMAKE_CURRENT_BINARY_DIR}/worker_https_stream)
pst_worker_test(https stream ${sim} --jobs 400 --concurrency 400 --http1
  --tls ${CMAKE_CURRENT_BINARY_DIR}/worker_https_stream)
pst_worker_test(http2 stream ${sim} --jobs 400 --concurrency 400 --tls ${CMAKE_CURRENT_BINARY_DIR}/worker_http2_stream)

# What its headers say of limits comes through both ways of making calls: over HTTP/2 that is curl.
file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/worker_http2_limits)
pst_worker_test(http limits ${sim} --jobs 1000)
pst_worker_test(http2 limits ${sim} --jobs 1000 --tls ${CMAKE_CURRENT_BINARY_DIR}/worker_http2_limits)
