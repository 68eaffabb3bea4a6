select strftime(hour, '%H') as hour, edits, anonymous, added from wiki.hours order by 1;
