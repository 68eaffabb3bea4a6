-- an array attribute, unnested: top 15 domains by messages
select domain, count(*) as messages, count(distinct user_id) as users
from (
  select user_id, unnest(json_array_elements_text(attrs->'link_domains')) as domain
  from raw.messages
)
group by domain
order by messages desc, domain
limit 15;
