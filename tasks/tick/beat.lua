-- Purpose: store a worker's heartbeat with Redis's own time, add its counts to those of all workers, forget the workers
--   that went long ago, and read all. A batch of counts that the stored heartbeat names already is not added again.
-- KEYS  1 workers (hash: worker id → time in ms, a space, JSON)  2 counters (hash: name → count)
-- ARGV  1 worker id  2 heartbeat (JSON); '' where the worker ends  3 age after which a heartbeat is deleted (ms)
--       4 sequence of the batch of counts  5… name and count of each
-- Returns {time now (ms), worker ids and heartbeats (flat)}.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(time[2] / 1000)
local added = tonumber(string.match(redis.call('HGET', KEYS[1], ARGV[1]) or '', '"counted":(%d+)') or 0)
if tonumber(ARGV[4]) > added then
  for i = 5, #ARGV, 2 do redis.call('HINCRBY', KEYS[2], ARGV[i], ARGV[i + 1]) end
end
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
