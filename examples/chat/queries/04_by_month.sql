-- messages and active users per calendar month (UTC)
select strftime(sent_at, '%Y-%m') as month,
       count(*) as messages,
       count(distinct user_id) as active_users
from raw.messages
group by 1
order by 1;
