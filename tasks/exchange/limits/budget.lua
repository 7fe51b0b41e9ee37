-- Purpose: take a call's cost out of a token bucket that fills steadily, unless a ban stands, or the bucket would go
--   below what the call's class must leave to more urgent ones. What the exchange says is left corrects the bucket
--   downwards first. A call dearer than the bucket is granted when the bucket is full, and leaves it in debt.
-- KEYS  1 bucket (hash: left, at)  2 ban (string: until, ms)
-- ARGV  1 cost (ms of the exchange's time; 0 only corrects)  2 capacity (ms)  3 refill (ms per ms)
--       4 reserve the class leaves (ms)  5 most that is left as the exchange says (ms), or -1
-- Returns {code, ms}:
--   0 GRANTED: what is left  1 WAIT: until it may be asked again  2 BANNED: until the ban ends
local cost, capacity, refill = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reserve, said = tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local bucket = redis.call('HMGET', KEYS[1], 'left', 'at')
local left = capacity
if bucket[1] then
  left = math.min(capacity, tonumber(bucket[1]) + math.max(now - tonumber(bucket[2]), 0) * refill)
end

local function keep(value)
  redis.call('HSET', KEYS[1], 'left', string.format('%.3f', value), 'at', string.format('%.3f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - value) / refill) + 1000)
end

if said >= 0 and said < left then
  left = said
  keep(left)
end
local ban = tonumber(redis.call('GET', KEYS[2]) or 0)
if ban > now then return {2, math.ceil(ban - now)} end
if cost <= 0 then return {0, math.floor(left)} end
local wanted = math.min(cost + reserve, capacity)
if left < wanted then return {1, math.ceil((wanted - left) / refill)} end
keep(left - cost)
return {0, math.floor(left - cost)}
