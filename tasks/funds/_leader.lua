-- Shared by scripts that only one worker of an account may run at a time (included before their own text; needs
-- time_fence of _server.lua).
-- Takes or renews the lease for `ms`. Returns the leader's fence; nil where another owner has the lease.
local function leader_fence(lease, fence, owner, ms)
  local now = redis.call('GET', lease)
  if now and now ~= owner then return nil end
  if now then
    redis.call('PEXPIRE', lease, ms)
  else
    -- The first fence is the time, so that one given before Redis lost everything stays lower than any after it.
    redis.call('SET', fence, time_fence(), 'NX')
    redis.call('INCR', fence)
    redis.call('SET', lease, owner, 'PX', ms)
  end
  return tonumber(redis.call('GET', fence))
end
