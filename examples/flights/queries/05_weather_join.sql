-- left join to weather on origin and hour of actual departure: mean departure delay by precipitation
select case when w.origin is null then 'no weather row' when w.precip > 0 then 'rain' else 'dry' end as kind,
       count(*) as flights,
       avg(f.dep_delay) as avg_dep_delay
from raw.flights f
left join raw.weather w
  on w.origin = f.origin and w.year = f.year and w.month = f.month and w.day = f.day and w.hour = f.hour
group by 1
order by 1;
