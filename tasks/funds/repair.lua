-- Purpose: set the money of some symbols to what their journal and cells explain, and the pot to the sums, in one step.
-- What the orders in the journal can cost is reserved even past the limits; the pot's field `adopted` counts it (adopt.lua).
-- KEYS  1 funds  then per symbol: funds of symbol, reservations, cells, intents
-- ARGV  1 count n of symbols, then per symbol: digest, used (units), count r, then r times: reservation id, units
--       digest: SHA-1 of all fields and values of cells, then of intents, joined by line feeds, in HGETALL's order
-- Returns one code:
--   0 OK        written
--   1 ALREADY   everything stood like that already
--   7 CONFLICT  cells or journal have changed since they were read: audit again; nothing changed
local function digest(cells, intents)
  local parts = redis.call('HGETALL', cells)
  for _, text in ipairs(redis.call('HGETALL', intents)) do parts[#parts + 1] = text end
  return redis.sha1hex(table.concat(parts, '\n'))
end

local count = tonumber(ARGV[1])
local p = 2
for i = 0, count - 1 do
  if digest(KEYS[4 + i * 4], KEYS[5 + i * 4]) ~= ARGV[p] then return 7 end
  p = p + 3 + 2 * tonumber(ARGV[p + 2])
end

local changed = false
local all_used, all_reserved = 0, 0
p = 2
for i = 0, count - 1 do
  local share, reservations = KEYS[2 + i * 4], KEYS[3 + i * 4]
  local now = redis.call('HMGET', share, 'used', 'reserved')
  local used, wanted, reserved = tonumber(ARGV[p + 1]), {}, 0
  p = p + 3
  for _ = 1, tonumber(ARGV[p - 1]) do
    wanted[ARGV[p]] = ARGV[p + 1]
    reserved = reserved + tonumber(ARGV[p + 1])
    if redis.call('HGET', reservations, ARGV[p]) ~= ARGV[p + 1] then
      redis.call('HSET', reservations, ARGV[p], ARGV[p + 1])
      changed = true
    end
    p = p + 2
  end
  for _, id in ipairs(redis.call('HKEYS', reservations)) do
    if not wanted[id] then
      redis.call('HDEL', reservations, id)
      changed = true
    end
  end
  if tonumber(now[1] or 0) ~= used or tonumber(now[2] or 0) ~= reserved then
    redis.call('HSET', share, 'used', string.format('%.0f', used), 'reserved', string.format('%.0f', reserved))
    changed = true
  end
  all_used, all_reserved = all_used + used, all_reserved + reserved
end
local pot = redis.call('HMGET', KEYS[1], 'used', 'reserved')
if tonumber(pot[1] or 0) ~= all_used or tonumber(pot[2] or 0) ~= all_reserved then
  local more = all_reserved - tonumber(pot[2] or 0)
  if more > 0 then redis.call('HINCRBY', KEYS[1], 'adopted', more) end
  redis.call('HSET', KEYS[1], 'used', string.format('%.0f', all_used), 'reserved',
    string.format('%.0f', all_reserved))
  changed = true
end
return changed and 0 or 1
