-- events per type and hour
select type,
       count(*) filter (where created_at < '2015-01-01 01:00:00') as hour0,
       count(*) filter (where created_at >= '2015-01-01 01:00:00') as hour1
from raw.events
group by type
order by type;
