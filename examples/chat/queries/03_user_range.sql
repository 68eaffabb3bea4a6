-- every message of one user in [2016-02-01, 2016-02-08), in time order
select message_id, sent_at as ts, room
from raw.messages
where user_id = '54ee77ff15522ed4b3dc7cbb'
  and sent_at >= '2016-02-01' and sent_at < '2016-02-08'
order by sent_at, message_id;
