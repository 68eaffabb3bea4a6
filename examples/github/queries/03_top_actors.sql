-- ten busiest actors
select actor_id,
       count(*) as events,
       count(distinct repo_id) as repos,
       count(distinct type) as types
from raw.events
group by actor_id
order by events desc, actor_id
limit 10;
