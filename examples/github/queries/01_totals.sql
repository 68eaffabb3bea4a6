-- events, distinct ids, actors, repositories, span
select count(*) as events,
       count(distinct id) as ids,
       count(distinct actor_id) as actors,
       count(distinct repo_id) as repos,
       count(*) filter (where attrs['org'] is not null) as with_org,
       min(created_at) as first_ts,
       max(created_at) as last_ts
from raw.events;
