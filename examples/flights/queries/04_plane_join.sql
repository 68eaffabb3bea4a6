-- flights whose tail number is known in planes, by manufacturer (top 8)
select p.manufacturer,
       count(*) as flights,
       count(distinct f.tailnum) as planes,
       avg(p.seats) as avg_seats
from raw.flights f join raw.planes p on p.tailnum = f.tailnum
group by 1
order by flights desc
limit 8;
