-- The requests of the wrk workloads, and one line of JSON at the end that load.py reads.
-- Arguments after "--": get | post | close | varied

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number_of_thread", threads)
end

-- Each request has a trace id that was in none before, as where everything is traced; all else repeats.
local function varied_requests()
  local run = string.format("%08x%04x", os.time(), number_of_thread)
  wrk.headers["Traceparent"] = "@"
  local before, after = wrk.format():match("^(.*)@(.*)$")
  local count = 0
  return function()
    count = count + 1
    return string.format("%s00-%s%020x-%016x-01%s", before, run, count, count, after)
  end
end

function init(args)
  if args[1] == "post" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("x", 1024)
  elseif args[1] == "close" then
    wrk.headers["Connection"] = "close"
  elseif args[1] == "varied" then
    request = varied_requests()
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"seconds":%f,"p50_us":%d,"p99_us":%d,"errors":%d}\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
