-- PullRequestEvent by language of the base repository (null is a value of its own)
select payload->'pull_request'->'base'->'repo'->>'language' as language,
       count(*) as events,
       count(distinct actor_id) as actors
from raw.events
where type = 'PullRequestEvent'
group by 1
order by events desc, language nulls last
limit 12;
