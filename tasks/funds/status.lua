-- Purpose: one consistent reading of the pot and of the named symbols.
-- KEYS  1 funds  2.. funds of each symbol
-- Returns a flat array of integers (units of 1e-8 quote; flags 0 or 1):
--   pool, used, reserved, version, paused, stopped (by an operator, or held: _holds.lua), short, max_committed,
--   then per symbol: registered, allocated, used, reserved, paused
local out = {}
local function add(value) out[#out + 1] = tonumber(value or 0) end
local pot = redis.call('HMGET', KEYS[1], 'pool', 'used', 'reserved', 'version', 'paused', 'stopped', 'short',
  'max_committed')
for i = 1, 8 do add(pot[i]) end
if held(redis.call('HGET', KEYS[1], 'holds')) then out[6] = 1 end
for k = 2, #KEYS do
  local share = redis.call('HMGET', KEYS[k], 'allocated', 'used', 'reserved', 'paused')
  add(share[1] and 1 or 0)
  for i = 1, 4 do add(share[i]) end
end
return out
