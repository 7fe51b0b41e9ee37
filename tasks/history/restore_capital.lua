-- Purpose: write back what operators put into the pot and took out of it, where Redis has lost it, once.
-- A paper market that has begun anew holds total_funds only: what was put in is paid in again.
-- KEYS  1 funds (hash)  2 the paper exchange's market (hash: quote)  3 its balances (hash)
-- ARGV  1 invested (units)  2 withdrawn (units)  3 1: a paper market has begun anew, else 0
-- Returns 1 where it was written, 0 where Redis holds it already.
if redis.call('HEXISTS', KEYS[1], 'invested') + redis.call('HEXISTS', KEYS[1], 'withdrawn') > 0 then return 0 end
redis.call('HSET', KEYS[1], 'invested', ARGV[1], 'withdrawn', ARGV[2])
local quote = redis.call('HGET', KEYS[2], 'quote')
if ARGV[3] == '1' and quote then
  redis.call('HINCRBY', KEYS[3], 'free:' .. quote, string.format('%.0f', tonumber(ARGV[1]) - tonumber(ARGV[2])))
end
return 1
