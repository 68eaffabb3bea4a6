-- IssuesEvent and PullRequestEvent by payload.action
select type, payload->>'action' as action, count(*) as events
from raw.events
where type in ('IssuesEvent', 'PullRequestEvent')
group by 1, 2
order by 1, 2;
