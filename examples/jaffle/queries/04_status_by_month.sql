select month, status, orders from jaffle.statuses order by 1, 2;
