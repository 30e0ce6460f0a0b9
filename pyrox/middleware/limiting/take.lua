-- Meets all demands, or consumes nothing when one cannot be met. See demands.py for the arithmetic.
--
-- KEYS: one for each demand. ARGV: strategy, quota, window in seconds, burst, cost of each.
-- Returns for each: granted (1 or 0), remaining, reset and retry in microseconds.
-- A value is "a b c": the state, with times in microseconds.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function fixed_window(stop, count, _, d)
    if now >= stop then
        stop, count = now + d.window, 0
    end
    local left = stop - now
    if count + d.cost > d.quota then
        return false, d.quota - count, left, left
    end
    count = count + d.cost
    return true, d.quota - count, left, 0, {stop, count, 0}, stop
end

local function slide(count, before, left, d)
    local room = d.quota - d.cost
    if room >= count then
        return math.max(left - (room - count + 1) * d.window / before, 0)
    end
    return left + math.max(d.window - (room + 1) * d.window / count, 0)
end

local function sliding_window(start, count, before, d)
    local window = d.window
    if now < start or now >= start + window then
        if now >= start + window and now < start + 2 * window then
            start, before, count = start + window, count, 0
        else
            start, before, count = now, 0, 0
        end
    end
    local left = start + window - now
    local used = math.floor(before * left / window) + count
    if used + d.cost > d.quota then
        return false, math.max(d.quota - used, 0), left, slide(count, before, left, d)
    end
    used = used + d.cost
    return true, d.quota - used, left, 0, {start, count + d.cost, before}, start + 2 * window
end

local function token_bucket(stamp, level, _, d)
    local rate = d.quota / d.window
    local at = math.max(now, stamp)
    level = math.max(level - (at - stamp) * rate, 0)
    local missing = level + d.cost - d.burst
    if missing > 1e-6 then
        return false, math.floor(d.burst - level + 1e-6), level / rate, missing / rate
    end
    level = level + d.cost
    local remaining = math.max(math.floor(d.burst - level + 1e-6), 0)
    return true, remaining, level / rate, 0, {at, level, 0}, at + level / rate
end

local strategies = {
    fixed_window = fixed_window, sliding_window = sliding_window, token_bucket = token_bucket
}

local verdicts, states, all_granted = {}, {}, true
for i, key in ipairs(KEYS) do
    local at = (i - 1) * 5
    local demand = {
        quota = tonumber(ARGV[at + 2]),
        window = tonumber(ARGV[at + 3]) * 1000000,
        burst = tonumber(ARGV[at + 4]),
        cost = tonumber(ARGV[at + 5])
    }
    local a, b, c = string.match(redis.call('GET', key) or '0 0 0', '^(%S+) (%S+) (%S+)$')
    local granted, remaining, reset, retry, state, expires =
        strategies[ARGV[at + 1]](tonumber(a), tonumber(b), tonumber(c), demand)
    verdicts[i] = {granted and 1 or 0, remaining, math.ceil(reset), math.ceil(retry)}
    states[i] = {state, expires}
    all_granted = all_granted and granted
end

if all_granted then
    for i, key in ipairs(KEYS) do
        local state, expires = states[i][1], states[i][2]
        local value = string.format('%.0f %.17g %.17g', state[1], state[2], state[3])
        redis.call('SET', key, value, 'PX', math.max(math.ceil((expires - now) / 1000), 1))
    end
end
return verdicts
