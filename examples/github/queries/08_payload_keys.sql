-- which top-level payload keys occur with which type
select type, payload_key, count(*) as events
from (select type, unnest(json_keys(payload)) as payload_key from raw.events)
group by 1, 2
order by 1, 2;
