-- the flights of plane N725MQ on 2013-03-03..05 in order of departure
select make_date(year, month, day) as d, dep_time, carrier, flight, origin, dest, dep_delay, arr_delay
from raw.flights
where tailnum = 'N725MQ' and year = 2013 and month = 3 and day between 3 and 5
order by d, dep_time, flight;
