-- Purpose: publish readings of the exchange and give their locks back. A lock that has expired, and may be another
-- reader's by now, is left alone, and so is its reading.
-- KEYS  per reading: its hash (asked_ms, body), its lock (string)
-- ARGV  1 token of the reader  2 how long a reading is kept (ms)
--       then per reading: time it was asked for (ms), body ('' where the read failed: only the lock is given back)
-- Returns how many readings were published.
local published = 0
for i = 1, #KEYS / 2 do
  local reading, lock = KEYS[2 * i - 1], KEYS[2 * i]
  local asked_ms, body = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  if redis.call('GET', lock) == ARGV[1] then
    if body ~= '' then
      redis.call('HSET', reading, 'asked_ms', asked_ms, 'body', body)
      redis.call('PEXPIRE', reading, ARGV[2])
      published = published + 1
    end
    redis.call('DEL', lock)
  end
end
return published
