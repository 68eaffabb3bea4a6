-- PushEvent: pushes, commits listed, distinct commits by payload.size, biggest push
select count(*) as pushes,
       sum(json_array_length(payload->'commits')) as commits_listed,
       sum((payload->>'size')::bigint) as commits_total,
       max((payload->>'size')::bigint) as biggest
from raw.events
where type = 'PushEvent';
