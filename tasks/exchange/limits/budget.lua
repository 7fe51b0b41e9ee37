-- Purpose: take the cost of requests out of a token bucket that fills steadily, for as many of them as it has room for
--   now. None while a ban is in force; and the bucket must keep what the requests' priority leaves to more urgent ones.
--   What the exchange says is left corrects the bucket downwards first. A request that costs more than the capacity is
--   granted when the bucket is full, and leaves it in debt. A clock that was set back neither fills the bucket nor stops
--   it: `at` becomes the present time, and what is left stays. Nor does it lengthen a ban, which keeps its duration.
-- KEYS  1 bucket (hash: left, at)  2 ban (string: until and since, ms)
-- ARGV  1 cost of one request (ms of the exchange's time)  2 requests wanted (0 only corrects)  3 capacity (ms)
--       4 refill (ms per ms)  5 reserve to leave (ms)  6 most that is left as the exchange says (ms), or -1
-- Returns {code, requests granted, ms, Redis time (ms)}:
--   0 GRANTED: all of them; what is left  1 WAIT: the first ones or none; until the next one  2 BANNED: until the end
local cost, wanted, capacity, refill = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local reserve, reported = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local bucket = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, is_ahead = capacity, false
if bucket[1] then
  is_ahead = tonumber(bucket[2]) > now
  left = math.min(capacity, tonumber(bucket[1]) + math.max(now - tonumber(bucket[2]), 0) * refill)
end

local function keep(value)
  redis.call('HSET', KEYS[1], 'left', string.format('%.3f', value), 'at', string.format('%.3f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - value) / refill) + 1000)
end

if reported >= 0 and reported < left then
  left = reported
  keep(left)
elseif is_ahead then
  keep(left)
end
local till, since = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) ?(%d*)')
local ban = tonumber(till or 0)
if tonumber(since or 0) and tonumber(since or 0) > math.ceil(now) then
  ban = math.ceil(now) + ban - tonumber(since)
  local stands = string.format('%.0f %.0f', ban, math.ceil(now))
  redis.call('SET', KEYS[2], stands, 'PX', string.format('%.0f', math.max(ban - math.ceil(now), 1) + 60000))  -- as ban.lua keeps it
end
if ban > now then return {2, 0, math.ceil(ban - now), math.floor(now)} end
if cost <= 0 or wanted <= 0 then return {0, wanted, math.floor(left), math.floor(now)} end
local needed, granted = math.min(cost + reserve, capacity), 0
while granted < wanted and left >= needed do
  left, granted = left - cost, granted + 1
end
if granted > 0 then keep(left) end
if granted < wanted then return {1, granted, math.ceil((needed - left) / refill), math.floor(now)} end
return {0, granted, math.floor(left), math.floor(now)}
