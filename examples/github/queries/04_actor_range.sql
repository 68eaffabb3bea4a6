-- events of the third busiest actor in [00:30, 01:10)
select id, created_at as ts, type, repo_name as repo
from raw.events
where actor_id = (
    select actor_id from raw.events
    group by actor_id
    order by count(*) desc, actor_id
    limit 1 offset 2
  )
  and created_at >= '2015-01-01 00:30:00' and created_at < '2015-01-01 01:10:00'
order by created_at, id;
