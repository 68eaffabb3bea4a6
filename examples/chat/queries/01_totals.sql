-- distinct messages, users, rooms, first and last time (an ingest reports the raw lines: repeats are the same row)
select count(*) as messages,
       count(distinct user_id) as users,
       count(distinct room) as rooms,
       min(sent_at) as first_ts,
       max(sent_at) as last_ts
from raw.messages;
