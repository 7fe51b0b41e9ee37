-- Purpose: Opens one symbol of the paper exchange's market, once; a later call only reads.
--
-- KEYS 1 state hash, 2 balances hash (see engine.lua), 3 candles list (manual market: the candles to come)
-- ARGV 1 cursor (candles already done), 2 last price (units), 3 market time (ms), 4 base, 5 quote, then candle texts
-- Answer: {cursor, last, first price (units)}
local function units(field)
  return tonumber(redis.call('HGET', KEYS[1], field))
end

if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[1], 'cursor', ARGV[1], 'last', ARGV[2], 'first', ARGV[2], 'time', ARGV[3], 'seen', 0,
    'traded', 0, 'base', ARGV[4], 'quote', ARGV[5])
  for _, currency in ipairs({ARGV[4], ARGV[5]}) do
    redis.call('HSETNX', KEYS[2], 'free:' .. currency, 0)
    redis.call('HSETNX', KEYS[2], 'used:' .. currency, 0)
  end
  for i = 6, #ARGV do
    redis.call('RPUSH', KEYS[3], ARGV[i])
  end
end
return {units('cursor'), units('last'), units('first')}
