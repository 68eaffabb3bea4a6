-- destinations with no row in airports (an anti join)
select dest, count(*) as flights
from raw.flights f
where not exists (select 1 from raw.airports p where p.faa = f.dest)
group by dest
order by dest;
