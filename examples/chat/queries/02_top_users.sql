-- ten busiest users
select user_id,
       count(*) as messages,
       count(distinct room) as rooms,
       min(sent_at) as first_ts,
       max(sent_at) as last_ts
from raw.messages
group by user_id
order by messages desc, user_id
limit 10;
