select channel, edits, users, robot_edits, net from wiki.channels order by edits desc, channel limit 15;
