-- cohort = Monday week of a user's first message; users of the cohort active 0..4 weeks later
with firsts as (
  select user_id, date_trunc('week', min(sent_at)) as cohort
  from raw.messages
  group by user_id
), active as (
  select distinct user_id, date_trunc('week', sent_at) as week
  from raw.messages
)
select strftime(cohort, '%Y-%m-%d') as cohort,
       count(*) filter (where week = cohort) as w0,
       count(*) filter (where week = cohort + interval '7 days') as w1,
       count(*) filter (where week = cohort + interval '14 days') as w2,
       count(*) filter (where week = cohort + interval '21 days') as w3,
       count(*) filter (where week = cohort + interval '28 days') as w4
from firsts join active using (user_id)
where cohort >= '2016-01-01' and cohort < '2016-07-01'
group by 1
order by 1;
