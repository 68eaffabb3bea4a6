-- how many messages carry each attribute key
select k as attr, count(*) as messages
from (select unnest(json_keys(attrs)) as k from raw.messages)
group by 1
order by 1;
