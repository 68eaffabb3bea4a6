select at as ts, channel, page, delta
from raw.edits
where "user" = (select "user" from wiki.sessions order by edits desc, "user" limit 1) and at >= '2015-09-12T12:00:00' and at < '2015-09-12T13:00:00'
order by ts, page, delta;
