-- Purpose: store a worker's heartbeat with Redis's own time, forget the workers that went long ago, and read all.
-- KEYS  1 workers (hash: worker id → time in ms, a space, JSON)
-- ARGV  1 worker id  2 heartbeat (JSON); '' where the worker ends  3 age after which a heartbeat is deleted (ms)
-- Returns {time now (ms), worker ids and heartbeats (flat)}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(time[2] / 1000)
if ARGV[2] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
end
local all, left = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #all, 2 do
  if now - tonumber(string.match(all[i + 1], '^%d+')) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    left[#left + 1] = all[i]
    left[#left + 1] = all[i + 1]
  end
end
return {now, left}
