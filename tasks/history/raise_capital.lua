-- Purpose: after Redis went back in time, raise what operators put into the pot and took out of it to what the history has.
-- Both only ever grow, so the higher figure is the newer one. A paper account is left alone: its exchange went back too.
-- KEYS  1 funds (hash: invested, withdrawn)  2 trading mode of the books (string)
-- ARGV  1 invested (units)  2 withdrawn (units)
-- Returns 1 where something was raised, else 0.
local mode = redis.call('GET', KEYS[2])
if not mode or mode == 'paper' or redis.call('HEXISTS', KEYS[1], 'version') == 0 then return 0 end
local raised = 0
for i, field in ipairs({'invested', 'withdrawn'}) do
  if tonumber(redis.call('HGET', KEYS[1], field) or 0) < tonumber(ARGV[i]) then
    redis.call('HSET', KEYS[1], field, ARGV[i])
    raised = 1
  end
end
return raised
