-- actors who starred (WatchEvent) a repository and later forked it (ForkEvent) within the two hours
select w.actor_id, w.repo_name as repo, min(w.created_at) as starred, min(f.created_at) as forked
from raw.events w
join raw.events f
  on f.actor_id = w.actor_id and f.repo_id = w.repo_id
  and f.type = 'ForkEvent' and f.created_at > w.created_at
where w.type = 'WatchEvent'
group by 1, 2
order by 1, 2;
