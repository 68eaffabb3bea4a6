-- sessions per user over all rooms (a gap of more than 30 minutes starts a new one): totals
with marked as (
  select user_id,
         case when sent_at <= lag(sent_at) over w + interval '30 minutes' then 0 else 1 end as starts
  from raw.messages
  window w as (partition by user_id order by sent_at, message_id)
), users as (
  select user_id, sum(starts) as sessions, count(*) as messages
  from marked
  group by user_id
)
select count(*) as users,
       sum(sessions) as sessions,
       sum(messages) as messages,
       max(sessions) as most_sessions_of_one_user
from users;
