-- ten days with the highest mean departure delay
select make_date(year, month, day) as d,
       count(*) as flights,
       avg(dep_delay) as avg_dep_delay
from raw.flights
group by 1
order by avg_dep_delay desc
limit 10;
