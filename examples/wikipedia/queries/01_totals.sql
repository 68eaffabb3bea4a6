select count(*) as edits, count(distinct "user") as users, count(distinct page) as pages, count(distinct channel) as channels,
       min(at) as first_ts, max(at) as last_ts, sum(added) as added, sum(deleted) as deleted, sum(delta) as delta
from raw.edits;
