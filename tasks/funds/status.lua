-- Purpose: one consistent reading of the pot and of the named symbols.
-- KEYS  1 funds  2.. funds of each symbol
-- Returns {inputs digest, then integers (units of 1e-8 quote; flags 0 or 1):
--   pool, used, reserved, version, paused, stopped (by an operator, or held: _holds.lua), short, max_committed,
--   time of the last dynamic step (ms), 1 while the usage spread has fired, invested, withdrawn, reinvested,
--   then per symbol: registered, allocated, used, reserved, paused, cap, max usage (1e-8), liquidate, fired}
local out = {}
local function add(value) out[#out + 1] = tonumber(value or 0) end
local pot = redis.call('HMGET', KEYS[1], 'pool', 'used', 'reserved', 'version', 'paused', 'stopped', 'short',
  'max_committed', 'stepped', 'spread_fired', 'invested', 'withdrawn', 'reinvested')
out[1] = redis.call('HGET', KEYS[1], 'inputs') or ''
for i = 1, 13 do add(pot[i]) end
if held(redis.call('HGET', KEYS[1], 'holds')) then out[7] = 1 end
for k = 2, #KEYS do
  local share = redis.call('HMGET', KEYS[k], 'allocated', 'used', 'reserved', 'paused', 'cap', 'max_usage', 'liquidate',
    'fired')
  add(share[1] and 1 or 0)
  for i = 1, 8 do add(share[i]) end
end
return out
