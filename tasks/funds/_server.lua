-- Purpose: shared part, placed before every script that names _server.lua: which server this is, and whether it is
-- still the one that a fence was given by. A restart, a failover and a restored snapshot give a server new ids.
-- `info_field(section, name)`: a field of INFO, '' where the server does not say.
-- `server_ids()`: its replication id and its run id, separated by a space.
-- `time_fence()`: the time in ms, as text: above every fence that was ever given, because a first fence is this and
--   no symbol gets a lease every ms.
-- `stale(fence_key, fence, server_key)`: 0 while the fence may write, else the code to return:
--   5 STALE_FENCE   a newer lease exists for the symbol
--   8 RESTARTED     the server is another one than the fences were raised on; the replication id alone tells that
local function info_field(section, name)
  return string.match(redis.call('INFO', section), name .. ':(%x+)') or ''
end

local function server_ids()
  return info_field('replication', 'master_replid') .. ' ' .. info_field('server', 'run_id')
end

local function time_fence()
  local time = redis.call('TIME')
  return time[1] .. string.format('%03d', math.floor(time[2] / 1000))
end

local function stale(fence_key, fence, server_key)
  if (redis.call('GET', fence_key) or '0') ~= fence then return 5 end
  local known = redis.call('GET', server_key)
  if not known then return 0 end
  local replication = string.match(known, '^%x*')
  if replication == info_field('replication', 'master_replid') then return 0 end
  return 8
end
