-- events per minute, first 15 minutes
select strftime(date_trunc('minute', created_at), '%H:%M') as minute,
       count(*) as events,
       count(distinct actor_id) as actors
from raw.events
where created_at < '2015-01-01 00:15:00'
group by 1
order by 1;
