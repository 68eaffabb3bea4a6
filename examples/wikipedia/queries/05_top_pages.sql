select page, edits, users from wiki.pages order by edits desc, page limit 10;
