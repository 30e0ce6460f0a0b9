-- The requests of the wrk workloads, and one line of JSON at the end that load.py reads.
-- Arguments after "--": get | post | close | varied

-- Twice as many different header blocks as Pyrox remembers (pyrox/http/head_cache.py), in turn.
local function varied_requests()
  local requests = {}
  for number = 1, 512 do
    wrk.headers["Cookie"] = string.format("session=%032x; theme=dark", number * 7919)
    requests[number] = wrk.format()
  end
  local turn = 0
  return function()
    turn = turn % #requests + 1
    return requests[turn]
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
