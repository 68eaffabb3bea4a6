-- per day, JFK: flights and mean of the 7 daily flight counts ending that day, January
with days as (
  select make_date(year, month, day) as d, count(*) as n
  from raw.flights
  where origin = 'JFK'
  group by 1
), rolling as (
  select d, n, avg(n) over (order by d rows between 6 preceding and current row) as avg7
  from days
)
select d, n, avg7
from rolling
where d < '2013-02-01'
order by d;
