select strftime(bucket, '%H:%M') as bucket, page, edits, users from wiki.edit_wars order by edits desc, bucket, page limit 10;
