-- Purpose: put back into a token bucket what was taken for requests that were never sent. What has flowed in since
--   then is taken off, so that the bucket never holds more than if nothing had been taken.
-- KEYS  1 bucket (hash: left, at)
-- ARGV  1 what was taken (ms of the exchange's time)  2 when, or before (Redis time, ms)  3 capacity (ms)
--       4 refill (ms per ms)
-- Returns what is left (ms).
local taken, since, capacity, refill = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local bucket = redis.call('HMGET', KEYS[1], 'left', 'at')
if not bucket[1] then return math.floor(capacity) end
local left = math.min(capacity, tonumber(bucket[1]) + math.max(now - tonumber(bucket[2]), 0) * refill)
left = math.min(capacity, left + math.max(taken - math.max(now - since, 0) * refill, 0))
redis.call('HSET', KEYS[1], 'left', string.format('%.3f', left), 'at', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - left) / refill) + 1000)
return math.floor(left)
