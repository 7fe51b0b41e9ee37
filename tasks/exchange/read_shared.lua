-- Purpose: look up shared readings of the exchange, and take the lock of each that is missing or too old.
-- KEYS  per reading: its hash (asked_ms, body), its lock (string, expires)
-- ARGV  1 token of the reader  2 lock time (ms)  then per reading: time (ms) that it must not be older than
-- Returns per reading:
--   the body  a reading that is new enough
--   1         the lock is taken: the caller reads the exchange and publishes
--   0         another process holds the lock: look again soon
local out = {}
for i = 1, #KEYS / 2 do
  local reading, lock = KEYS[2 * i - 1], KEYS[2 * i]
  local stored = redis.call('HMGET', reading, 'asked_ms', 'body')
  if stored[1] and tonumber(stored[1]) >= tonumber(ARGV[2 + i]) then
    out[i] = stored[2]
  else
    out[i] = redis.call('SET', lock, ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
  end
end
return out
