#!lua name=penstock2
-- penstock.lua - what must be atomic in Redis, as one versioned function library.
--
-- Every call names its keys, all of one hash tag.  Numbers come as decimal text.  A key that has an owner keeps its
-- epoch in the hash field `e`: a caller with an older epoch is refused (FENCED), one with the same or a newer epoch
-- owns it from then on.  Every function may be called twice with the same arguments: the second call changes nothing.
-- Functions without allow-oom are those that bring new work; whatever finishes work goes on when memory is full.
--
-- What is large does not pass through here: Lua reads every byte of a string to hash it (2.5 ns each), SET reads none.
-- So the broker sends MULTI, SET of the bytes under a passing name, the call, EXEC; the call gives the bytes
-- their name or throws them away.

local OK = {ok = 'OK'}

local function fenced()
    return redis.error_reply('FENCED a newer epoch owns this')
end

local function notfound()
    return redis.error_reply('NOTFOUND no such batch or segment')
end

local function newer(stored, e)
    return stored and tonumber(stored) > tonumber(e)
end

-- ---- the owner's keys ------------------------------------------------------------------------------------------

-- keys: epoch.  Gives the next epoch.
local function epoch_take(keys)
    return redis.call('INCR', keys[1])
end

-- keys: epoch, active, all.  args: e, id, the milliseconds inside that id.  First half of an OPEN: from here on a restart sees it.
local function enlist(keys, args)
    if newer(redis.call('GET', keys[1]), args[1]) then return fenced() end
    redis.call('SADD', keys[2], args[2])
    redis.call('ZADD', keys[3], 'NX', args[3], args[2])
    return OK
end

-- keys: epoch, active, all.  args: e, id.  A deletion begins: no list shows the batch, a restart goes on deleting.
local function unlist(keys, args)
    if newer(redis.call('GET', keys[1]), args[1]) then return fenced() end
    redis.call('SADD', keys[2], args[2])
    redis.call('ZREM', keys[3], args[2])
    return OK
end

-- keys: epoch, active.  args: e, id.  Nothing is left to do for the batch.
local function retire(keys, args)
    if newer(redis.call('GET', keys[1]), args[1]) then return fenced() end
    redis.call('SREM', keys[2], args[2])
    return OK
end

-- keys: workers.  args: name, 1 (here) or 0 (gone).
local function worker(keys, args)
    redis.call(args[2] == '1' and 'SADD' or 'SREM', keys[1], args[1])
    return OK
end

-- keys: all.  args: how many, then optionally the id to start after and the milliseconds inside that id, for when
-- the batch itself is gone.  Newest first.
local function list(keys, args)
    local n = tonumber(args[1])
    if not args[2] then return redis.call('ZREVRANGE', keys[1], 0, n - 1) end
    local rank = redis.call('ZREVRANK', keys[1], args[2])
    if rank then return redis.call('ZREVRANGE', keys[1], rank + 1, rank + n) end
    return redis.call('ZREVRANGEBYSCORE', keys[1], '(' .. args[3], '-inf', 'LIMIT', 0, n)
end

-- ---- a batch: its hash holds e, st (0 staging, 1 accepted, 2 ended, 3 being deleted), i (as opened), pk jb sg (packs,
-- jobs, segments), ac ex (accepted, expires), dr dw (drain, since when), su (summary) ------------------------------

-- Epoch and state; the third result is a refusal.
local function batch_state(key, e)
    local v = redis.call('HMGET', key, 'e', 'st')
    if newer(v[1], e) then return nil, fenced() end
    if not v[2] or v[2] == '3' then return nil, notfound() end
    return v[2]
end

-- keys: batch.  args: e, info.  Second half of an OPEN, sent right behind enlist.
local function open(keys, args)
    local v = redis.call('HMGET', keys[1], 'e', 'st')
    if newer(v[1], args[1]) then return fenced() end
    if v[2] == '3' then return notfound() end
    if v[2] == '2' then return redis.error_reply('ENDED the batch was accepted and has ended') end
    if v[2] then
        redis.call('HSET', keys[1], 'e', args[1])
    else
        redis.call('HSET', keys[1], 'e', args[1], 'st', '0', 'i', args[2])
    end
    return OK
end

-- keys: batch.  args: e, packs, jobs, segments, accepted, expires.  The packs lie under other hash tags, so they cannot
-- be counted here: the broker counted the answers to its put_packs, and a restore counts the directories.
local function commit(keys, args)
    local st, refusal = batch_state(keys[1], args[1])
    if not st then return refusal end
    if st == '0' then
        redis.call('HSET', keys[1], 'e', args[1], 'st', '1', 'pk', args[2], 'jb', args[3], 'sg', args[4],
                   'ac', args[5], 'ex', args[6])
    end
    return OK
end

-- keys: batch.  args: e, drain, since.
local function cancelling(keys, args)
    local st, refusal = batch_state(keys[1], args[1])
    if not st then return refusal end
    redis.call('HSET', keys[1], 'e', args[1], 'dr', args[2], 'dw', args[3])
    return OK
end

-- keys: batch.  args: e, summary.
local function batch_end(keys, args)
    local st, refusal = batch_state(keys[1], args[1])
    if not st then return refusal end
    if st ~= '2' then redis.call('HSET', keys[1], 'e', args[1], 'st', '2', 'su', args[2]) end
    return OK
end

-- keys: batch.  args: e.  Takes the batch over, whatever its state; all its fields, or nothing if there is none.
local function batch_take(keys, args)
    local e = redis.call('HGET', keys[1], 'e')
    if newer(e, args[1]) then return fenced() end
    if e and e ~= args[1] then redis.call('HSET', keys[1], 'e', args[1]) end
    return redis.call('HGETALL', keys[1])
end

-- keys: batch.  args: e.  It is being deleted; gives segments and info.
local function batch_drop(keys, args)
    local v = redis.call('HMGET', keys[1], 'e', 'sg', 'i')
    if newer(v[1], args[1]) then return fenced() end
    if v[1] then redis.call('HSET', keys[1], 'e', args[1], 'st', '3') end
    return {v[2], v[3]}
end

-- ---- a segment: meta holds e, n (result packs), s (account) --------------------------------------------------------

-- keys: meta, dir, routes, headers, bodies, the passing names of both.  args: e, pack, entry, route.
local function put_pack(keys, args)
    local e = redis.call('HGET', keys[1], 'e')
    if newer(e, args[1]) then
        redis.call('UNLINK', keys[6], keys[7])
        return fenced()
    end
    if e ~= args[1] then redis.call('HSET', keys[1], 'e', args[1]) end
    local number = redis.call('HGET', keys[3], args[4])
    if not number then
        number = redis.call('HLEN', keys[3])
        redis.call('HSET', keys[3], args[4], number)
    end
    if redis.call('HSETNX', keys[2], args[2], args[3] .. struct.pack('<H', number)) == 1 then
        redis.call('RENAME', keys[6], keys[4])
        redis.call('RENAME', keys[7], keys[5])
    else
        redis.call('UNLINK', keys[6], keys[7])
    end
    return OK
end

-- What an append must not be carried out for; nil if it must.
local function append_refusal(v, e, n)
    if newer(v[1], e) then return fenced() end
    if not v[1] then return notfound() end
    local count = tonumber(v[2] or 0)
    if n < count then return OK end
    if n > count then
        return redis.error_reply('GAP result pack ' .. n .. ' of a segment that has ' .. count)
    end
end

-- keys: meta, result pack, ends, retry, passing name, then the bodies to free.  args: e, n, pack ('': it has the passing
-- name), account, ends, then the retries to forget.
local function append(keys, args)
    local n, passing = tonumber(args[2]), args[3] == ''
    local refusal = append_refusal(redis.call('HMGET', keys[1], 'e', 'n'), args[1], n)
    if refusal then
        if passing then redis.call('UNLINK', keys[5]) end
        return refusal
    end
    if passing then
        redis.call('RENAME', keys[5], keys[2])
    else
        redis.call('SET', keys[2], args[3])
    end
    redis.call('HSET', keys[1], 'e', args[1], 'n', n + 1, 's', args[4])
    redis.call('APPEND', keys[3], args[5])
    if #args > 5 then redis.call('HDEL', keys[4], unpack(args, 6)) end
    if #keys > 5 then redis.call('UNLINK', unpack(keys, 6)) end
    return OK
end

-- keys: meta, retry.  args: e, field, value.
local function retry(keys, args)
    local e = redis.call('HGET', keys[1], 'e')
    if newer(e, args[1]) then return fenced() end
    if not e then return notfound() end
    if e ~= args[1] then redis.call('HSET', keys[1], 'e', args[1]) end
    redis.call('HSET', keys[2], args[2], args[3])
    return OK
end

-- keys: meta.  args: e.  Takes the segment over; gives n and the account, or nothing if there is no such segment.
local function seg_take(keys, args)
    local v = redis.call('HMGET', keys[1], 'e', 'n', 's')
    if newer(v[1], args[1]) then return fenced() end
    if not v[1] then return {} end
    if v[1] ~= args[1] then redis.call('HSET', keys[1], 'e', args[1]) end
    return {v[2] or '0', v[3] or ''}
end

-- keys: meta, idx.  args: e, where each job's result is.
local function seg_end(keys, args)
    local e = redis.call('HGET', keys[1], 'e')
    if newer(e, args[1]) then return fenced() end
    if not e then return notfound() end
    if e ~= args[1] then redis.call('HSET', keys[1], 'e', args[1]) end
    redis.call('SET', keys[2], args[2])
    return OK
end

-- keys: meta, dir, idx.  Gives n, the directory's entries in any order, idx.
local function seg_read(keys)
    return {redis.call('HGET', keys[1], 'n'), redis.call('HVALS', keys[2]), redis.call('GET', keys[3])}
end

-- ---- idempotency keys: b (batch), e ----------------------------------------------------------------------------

-- keys: key.  args: e, batch, holder it may be taken from ('' if none).  Gives the holder.
local function idem_claim(keys, args)
    local v = redis.call('HMGET', keys[1], 'e', 'b')
    if newer(v[1], args[1]) then return fenced() end
    if v[2] and v[2] ~= args[2] and v[2] ~= args[3] then return v[2] end
    redis.call('HSET', keys[1], 'e', args[1], 'b', args[2])
    return args[2]
end

-- keys: key.  args: e, batch.  Forgets the key if that batch holds it.
local function idem_drop(keys, args)
    local v = redis.call('HMGET', keys[1], 'e', 'b')
    if v[2] ~= args[2] then return OK end
    if newer(v[1], args[1]) then return fenced() end
    redis.call('UNLINK', keys[1])
    return OK
end

-- ---- rate budgets: two token buckets and a moment before which nothing is given --------------------------------------
-- Levels are kept in 1/60000 of a unit and time in milliseconds of the server's clock, so that what flows in, rate a
-- minute times milliseconds, is a whole number: nothing is lost to rounding, however often one asks.

local SCALE = 60000
local IDLE_MS = 3600000
local HOUR_MS = 3600000

local function now_ms()
    local t = redis.call('TIME')
    return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- What is in the bucket now.  A new bucket is full; a clock that stepped back adds nothing.
local function level(stored, rate, cap, since)
    local full = cap * SCALE
    stored = tonumber(stored or full)
    if stored >= full or rate == 0 then return full end
    local to_full = math.ceil((full - stored) / rate)
    if since >= to_full then return full end
    return stored + math.max(since, 0) * rate
end

-- Whole units that can be had at this level: at most `most`, nil if less than `least`, and then how long to wait.  More
-- than the bucket ever holds is given when it is full, and owed: the average stays at the rate.
local function afford(have, rate, cap, most, least)
    if rate == 0 then return most, 0 end
    local need = math.min(least, cap) * SCALE
    if have < need then return nil, math.ceil((need - have) / rate) end
    return math.max(least, math.min(most, math.floor(have / SCALE))), 0
end

-- A day's requests by the hour they were made in: "hour:count hour:count …".  What is older than a day is dropped.
local function hours_read(text, hour)
    local hours, sum = {}, 0
    for h, n in string.gmatch(text or '', '(%d+):(%d+)') do
        h, n = tonumber(h), tonumber(n)
        if h >= hour - 24 then
            hours[#hours + 1] = {h, n}
            sum = sum + n
        end
    end
    return hours, sum
end

local function hours_text(hours)
    local text = {}
    for i, h in ipairs(hours) do
        text[i] = string.format('%.0f:%.0f', h[1], h[2])
    end
    return table.concat(text, ' ')
end

local function hours_add(day, count)
    local last = day.hours[#day.hours]
    if last and last[1] == day.hour then
        last[2] = last[2] + count
    else
        day.hours[#day.hours + 1] = {day.hour, count}
    end
end

-- The latest first: what comes back is a slice that was taken lately.
local function hours_take_back(day, count)
    for i = #day.hours, 1, -1 do
        local n = math.min(count, day.hours[i][2])
        day.hours[i][2] = day.hours[i][2] - n
        count = count - n
    end
end

-- As afford, of a day.
local function afford_today(day, limit, most, least)
    local left = limit - day.sum
    if left >= math.max(least, 1) then return math.min(most, left), 0 end
    local oldest = day.hours[1] and day.hours[1][1] or day.hour
    return nil, (oldest + 25) * HOUR_MS - day.now
end

-- The buckets of a minute, in the order of pst_rate_t: the field each level is kept in.  The day is the fifth rate.
local FIELDS = {'r', 'i', 'o', 't'}
local DAY = 5

-- limit, cap, amount and least of a rate.
local function rate_args(args, i)
    local at = 4 * (i - 1)
    return tonumber(args[at + 1]), tonumber(args[at + 2]), tonumber(args[at + 3]), tonumber(args[at + 4])
end

-- The state at this moment.
local function budget(key, args)
    local b = {now = now_ms(), level = {}}
    local v = redis.call('HMGET', key, 'r', 'i', 'o', 't', 'd', 'u', 'b')
    local since = b.now - tonumber(v[6] or b.now)
    -- The clock stepped back: count from where it was.
    if since < 0 then b.now, since = b.now - since, 0 end
    for i = 1, #FIELDS do
        local limit, cap = rate_args(args, i)
        b.level[i] = level(v[i], limit, cap, since)
    end
    b.day = {now = b.now, hour = math.floor(b.now / HOUR_MS)}
    b.day.hours, b.day.sum = hours_read(v[DAY], b.day.hour)
    b.block = tonumber(v[7] or 0)
    return b
end

local function budget_keep(key, args, b)
    -- A bucket that is idle until it is full can be forgotten, but not before.
    local idle = math.max(IDLE_MS, b.block - b.now)
    local fields = {'u', string.format('%.0f', b.now), 'b', string.format('%.0f', b.block)}
    for i = 1, #FIELDS do
        local limit, cap = rate_args(args, i)
        if limit > 0 then
            idle = math.max(idle, (cap * SCALE - b.level[i]) / limit)
            fields[#fields + 1] = FIELDS[i]
            fields[#fields + 1] = string.format('%.0f', b.level[i])
        end
    end
    if rate_args(args, DAY) > 0 then
        idle = math.max(idle, 25 * HOUR_MS)
        fields[#fields + 1] = 'd'
        fields[#fields + 1] = hours_text(b.day.hours)
    end
    redis.call('HSET', key, unpack(fields))
    redis.call('PEXPIRE', key, string.format('%.0f', idle))
end

-- keys: budget.  args: limit, cap, amount and least of each rate.  Gives the milliseconds to wait, 0 if it was granted,
-- and what of each rate; behind the wait for the end of a block 1.  A refusal writes nothing.
local function limit_take(keys, args)
    local b = budget(keys[1], args)
    if b.block > b.now then return {b.block - b.now, 1} end
    local granted, wait = {}, 0
    for i = 1, DAY do
        local limit, cap, amount, least = rate_args(args, i)
        local got, w = 0, 0
        if limit > 0 and i == DAY then
            got, w = afford_today(b.day, limit, amount, least)
        elseif limit > 0 then
            got, w = afford(b.level[i], limit, cap, amount, least)
        end
        granted[i], wait = got or 0, math.max(wait, w)
    end
    if wait > 0 then return {wait} end
    for i = 1, #FIELDS do
        if rate_args(args, i) > 0 then b.level[i] = b.level[i] - granted[i] * SCALE end
    end
    if granted[DAY] > 0 then hours_add(b.day, granted[DAY]) end
    budget_keep(keys[1], args, b)
    return {0, unpack(granted)}
end

-- keys: budget.  args: as limit_take's; the amounts come back.
local function limit_give(keys, args)
    local b = budget(keys[1], args)
    for i = 1, #FIELDS do
        local limit, cap, amount = rate_args(args, i)
        if limit > 0 then b.level[i] = math.min(b.level[i] + amount * SCALE, cap * SCALE) end
    end
    local _, _, today = rate_args(args, DAY)
    hours_take_back(b.day, today)
    budget_keep(keys[1], args, b)
    return OK
end

-- keys: budget.  args: as limit_take's, then milliseconds.  The latest moment counts.
local function limit_block(keys, args)
    local b = budget(keys[1], args)
    b.block = math.max(b.block, b.now + tonumber(args[4 * DAY + 1]))
    budget_keep(keys[1], args, b)
    return OK
end

-- ---- registration ------------------------------------------------------------------------------------------------

local function register(name, callback, ...)
    redis.register_function{function_name = 'pst2_' .. name, callback = callback, flags = {...}}
end

register('enlist', enlist)
register('open', open)
register('commit', commit)
register('put_pack', put_pack)

register('epoch_take', epoch_take, 'allow-oom')
register('unlist', unlist, 'allow-oom')
register('retire', retire, 'allow-oom')
register('worker', worker, 'allow-oom')
register('cancelling', cancelling, 'allow-oom')
register('batch_end', batch_end, 'allow-oom')
register('batch_take', batch_take, 'allow-oom')
register('batch_drop', batch_drop, 'allow-oom')
register('append', append, 'allow-oom')
register('retry', retry, 'allow-oom')
register('seg_take', seg_take, 'allow-oom')
register('seg_end', seg_end, 'allow-oom')
register('idem_claim', idem_claim, 'allow-oom')
register('idem_drop', idem_drop, 'allow-oom')
register('limit_take', limit_take, 'allow-oom')
register('limit_give', limit_give, 'allow-oom')
register('limit_block', limit_block, 'allow-oom')

register('list', list, 'no-writes')
register('seg_read', seg_read, 'no-writes')
