select count(*) as users, sum(sessions) as sessions, sum(edits) as edits from wiki.sessions;
