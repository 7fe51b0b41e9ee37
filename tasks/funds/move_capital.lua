-- Purpose: add to what an operator has put into the pot, or to the profit taken out of it, with the record, in one step.
-- The pool follows at the next rebalance (set_limits.lua). Idempotent by the id of the movement.
-- KEYS  1 funds (hash: invested, withdrawn; units of 1e-8 quote)  2 outbox (stream; _outbox.lua)
--       3 ids of actions done (sorted set: id -> ms)  4 balances of the paper exchange (hash)
-- ARGV  1 invest or withdraw  2 amount (units)
--       3 bound (units): of invested - withdrawn after an investment; of withdrawn after a withdrawal
--       4 id of the movement  5 who moves it
--       6 field of the paper balance that an investment is paid into, '' where trading is live
-- Returns code, invested, withdrawn:
--   0 OK            moved
--   1 ALREADY       this movement was made before; nothing changed
--   3 GLOBAL_LIMIT  it would exceed the bound; nothing changed
--   7 CONFLICT      the pot is not open; nothing changed
local kind, units, bound = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local now = redis.call('HMGET', KEYS[1], 'invested', 'withdrawn', 'version')
local invested, withdrawn = tonumber(now[1] or 0), tonumber(now[2] or 0)
if not now[3] then return {7, invested, withdrawn} end
if redis.call('ZSCORE', KEYS[3], ARGV[4]) then return {1, invested, withdrawn} end
if kind == 'invest' then
  if invested - withdrawn + units > bound then return {3, invested, withdrawn} end
  invested = invested + units
  redis.call('HINCRBY', KEYS[1], 'invested', ARGV[2])
  if ARGV[6] ~= '' then redis.call('HINCRBY', KEYS[4], ARGV[6], ARGV[2]) end
else
  if withdrawn + units > bound then return {3, invested, withdrawn} end
  withdrawn = withdrawn + units
  redis.call('HINCRBY', KEYS[1], 'withdrawn', ARGV[2])
end
local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('ZADD', KEYS[3], ms, ARGV[4])
archive(KEYS[2], 'capital', ARGV[4] .. '|' .. ms .. '|' .. kind .. '|' .. ARGV[2] .. '|' .. ARGV[5])
return {0, invested, withdrawn}
