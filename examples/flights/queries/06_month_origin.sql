-- flights and mean arrival delay per month and origin
select month, origin,
       count(*) as flights,
       avg(arr_delay) as avg_arr_delay,
       count(*) filter (where dep_time is null) as never_departed
from raw.flights
group by 1, 2
order by 1, 2;
