-- Purpose: take or renew the right to tick a symbol, and read everything a tick starts from, in one step.
-- KEYS  1 lease (string, expires)  2 fence (counter)  3 grid  4 book  5 last tick  (strings)
--       6 cells  7 intents  8 funds  9 funds of symbol  10 circuit breakers  (hashes)  11 ban (string)
--       12 settings in force (hash)  13 format of the records (string)  14 ids of the server (see _server.lua)
--       15 ids of the server at the last comparison with the exchange  16 lock of the comparison  (strings)
--       17 stats (hash)  18 fee queue (hash)  19 corrections (hash)
--       20 symbols that wait because their books do not agree (hash)
--       21 symbols that are still to be compared with the exchange (hash)
-- ARGV  1 owner of the lease  2 lease time (ms)  3 symbol  4 newest fence that the owner knows of, 0 for none
-- Returns {-1} while the books must be compared with the exchange and the owner does not hold that lock: Redis
--   restarted, failed over or was restored, so it may have lost the newest records and leases. A fence below the
--   one that the owner knows of proves it too;
--   {-2, why} where the symbol waits and the owner does not hold that lock;
--   {0, ms until the other holder's lease ends} when another owner holds the lease, else
--   {fence, grid, book, last tick, cells (flat), intents (flat),
--    {pool, used, reserved, paused, stopped, short, version of the limits,
--     registered, allocated, used of symbol, reserved of symbol, paused of symbol, liquidate, fired,
--     version of the settings, 1 while the exchange bans us else 0, invested, withdrawn, reinvested,
--     1 where the symbol is still to be compared with the exchange else 0},
--    {breaker of symbol, breaker of the exchange}, format, fee queue (flat), corrections (values)};
--    missing strings are ''.
-- paused of the pot: by an operator, or while too many records wait for the history database (history_full).
-- stopped: by an operator, or by a process that holds the pot stopped (_holds.lua).
local compared, ids = redis.call('GET', KEYS[15]), server_ids()
local has_books = redis.call('HEXISTS', KEYS[8], 'version') == 1
if not has_books or (not compared and redis.call('EXISTS', KEYS[17]) == 0) then
  -- New books, or books still to be rebuilt: there is nothing to compare.
  if compared ~= ids then
    redis.call('SET', KEYS[14], ids)
    redis.call('SET', KEYS[15], ids)
  end
else
  if tonumber(redis.call('GET', KEYS[2]) or 0) < tonumber(ARGV[4]) then
    compared = ''
    redis.call('SET', KEYS[15], compared)
  end
  if compared ~= ids and redis.call('GET', KEYS[16]) ~= ARGV[1] then return {-1} end
end
local why = redis.call('HGET', KEYS[20], ARGV[3])
if why and redis.call('GET', KEYS[16]) ~= ARGV[1] then return {-2, why} end
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return {0, redis.call('PTTL', KEYS[1])} end
if owner then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
else
  -- The first fence is the time, so that one granted before Redis lost everything stays lower than any after it.
  redis.call('SET', KEYS[2], time_fence(), 'NX')
  redis.call('INCR', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
local out = {tonumber(redis.call('GET', KEYS[2]))}
for k = 3, 5 do out[#out + 1] = redis.call('GET', KEYS[k]) or '' end
out[#out + 1] = redis.call('HGETALL', KEYS[6])
out[#out + 1] = redis.call('HGETALL', KEYS[7])
local numbers = {}
local function add(value) numbers[#numbers + 1] = tonumber(value or 0) end
local pot = redis.call('HMGET', KEYS[8], 'pool', 'used', 'reserved', 'paused', 'stopped', 'short', 'version',
  'invested', 'withdrawn', 'reinvested')
for i = 1, 7 do add(pot[i]) end
if held(redis.call('HGET', KEYS[8], 'holds')) then numbers[5] = 1 end
if redis.call('HGET', KEYS[8], 'history_full') == '1' then numbers[4] = 1 end
local share = redis.call('HMGET', KEYS[9], 'allocated', 'used', 'reserved', 'paused', 'liquidate', 'fired')
add(share[1] and 1 or 0)
for i = 1, 6 do add(share[i]) end
add(redis.call('HGET', KEYS[12], 'version'))
add(redis.call('PTTL', KEYS[11]) > 60000 and 1 or 0)  -- the record of a ban stays for a minute after its end
for i = 8, 10 do add(pot[i]) end
add(redis.call('HEXISTS', KEYS[21], ARGV[3]))
out[#out + 1] = numbers
local breakers = redis.call('HMGET', KEYS[10], ARGV[3], '*')
out[#out + 1] = {breakers[1] or '', breakers[2] or ''}
out[#out + 1] = redis.call('GET', KEYS[13]) or ''
out[#out + 1] = redis.call('HGETALL', KEYS[18])
out[#out + 1] = redis.call('HVALS', KEYS[19])
return out
