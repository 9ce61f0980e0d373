-- wrk: one chat request again and again; prints JSON.
-- PST_PEER_BODY is the body's file, PST_PEER_HEADERS a file of lines "name: value".
wrk.method = "POST"
for line in io.lines(os.getenv("PST_PEER_HEADERS")) do
   local name, value = line:match("^(.-): (.*)$")
   wrk.headers[name] = value
end
local file = io.open(os.getenv("PST_PEER_BODY"))
wrk.body = file:read("*a")
file:close()

done = function(summary, latency)
   local e = summary.errors
   local errors = e.connect + e.read + e.write + e.status + e.timeout
   io.write(string.format('\n{"requests": %d, "seconds": %f, "errors": %d, "p50_us": %d, "p99_us": %d}\n',
      summary.requests, summary.duration / 1e6, errors, latency:percentile(50), latency:percentile(99)))
end
