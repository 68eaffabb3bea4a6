-- daily active users and the 7-day distinct users ending that day, June 2016
with user_days as (
  select distinct user_id, sent_at::date as day
  from raw.messages
  where sent_at >= '2016-05-26' and sent_at < '2016-07-01'
), days as (
  select unnest(generate_series(date '2016-06-01', date '2016-06-30', interval '1 day'))::date as day
)
select strftime(t.day, '%Y-%m-%d') as day,
       count(distinct d.user_id) filter (where d.day = t.day) as dau,
       count(distinct d.user_id) as wau
from days t join user_days d on d.day between t.day - interval '6 days' and t.day
group by 1
order by 1;
