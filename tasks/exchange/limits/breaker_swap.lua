-- Purpose: replace the states of breakers, all or none: none when one was changed in between. Adds their events.
-- KEYS  1 breakers (hash)  2 events (stream)  3 outbox (stream; _outbox.lua)
-- ARGV  1 rough cap of the stream, then per breaker: field, state expected ('' none), new state, event ('' none)
-- Returns 1 when swapped, 0 when one was changed meanwhile.
for i = 2, #ARGV, 4 do
  if (redis.call('HGET', KEYS[1], ARGV[i]) or '') ~= ARGV[i + 1] then return 0 end
end
for i = 2, #ARGV, 4 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])
  if ARGV[i + 3] ~= '' then
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[1], '*', 'type', 'breaker_changed', 'body', ARGV[i + 3])
    archive(KEYS[3], 'event', 'breaker_changed|' .. ARGV[i + 3])
  end
end
return 1
