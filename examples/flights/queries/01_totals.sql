-- row counts of the five tables
select (select count(*) from raw.flights) as flights,
       (select count(*) from raw.airlines) as airlines,
       (select count(*) from raw.airports) as airports,
       (select count(*) from raw.planes) as planes,
       (select count(*) from raw.weather) as weather,
       (select count(*) from raw.flights where dep_time is null) as never_departed,
       (select count(*) from raw.flights where arr_delay is null) as no_arr_delay;
