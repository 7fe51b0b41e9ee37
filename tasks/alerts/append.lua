-- Purpose: append alerts to the queue, each at most once by its key, and remember what they were made from.
-- KEYS  1 queue (stream)  2 keys seen (sorted set: key -> ms)  3 state of the watch (hash)  4 fence of the leader
-- ARGV  1 fence of the caller; '' where any worker may append  2 how long a key is remembered (ms)
--       3 count s of fields for the state, then s times: field, value
--       then count n of alerts, then n times: key ('': always append), kind, body (JSON)
-- Returns how many were appended; -1 where the fence is an old one: nothing changed.
if ARGV[1] ~= '' and redis.call('GET', KEYS[4]) ~= ARGV[1] then return -1 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local p = 4
for _ = 1, tonumber(ARGV[3]) do
  redis.call('HSET', KEYS[3], ARGV[p], ARGV[p + 1])
  p = p + 2
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - tonumber(ARGV[2])))
local appended = 0
local count = tonumber(ARGV[p])
p = p + 1
for _ = 1, count do
  local key = ARGV[p]
  if key == '' or redis.call('ZADD', KEYS[2], 'NX', string.format('%.0f', now), key) == 1 then
    redis.call('XADD', KEYS[1], '*', 'kind', ARGV[p + 1], 'body', ARGV[p + 2])
    appended = appended + 1
  end
  p = p + 3
end
return appended
