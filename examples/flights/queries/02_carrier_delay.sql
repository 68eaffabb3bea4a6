-- per airline: flights, mean departure and arrival delay
select a.carrier, a.name,
       count(*) as flights,
       avg(f.dep_delay) as avg_dep_delay,
       avg(f.arr_delay) as avg_arr_delay
from raw.flights f join raw.airlines a on a.carrier = f.carrier
group by 1, 2
order by flights desc;
