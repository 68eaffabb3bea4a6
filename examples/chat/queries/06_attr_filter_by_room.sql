-- messages with a code block and at least one link, per room, top 10
select room,
       count(*) as messages,
       sum((attrs->>'links')::bigint) as links
from raw.messages
where (attrs->>'code_block') = 'true' and (attrs->>'links')::bigint >= 1
group by room
order by messages desc, room
limit 10;
