select count(*) as lines, count(distinct invoice) as invoices, count(distinct customer) as customers,
       count(*) filter (where customer is null) as lines_without_customer, count(distinct stock_code) as products,
       count(distinct country) as countries, count(*) filter (where invoice like 'C%') as cancelled_lines,
       min(at) as first_ts, max(at) as last_ts, sum(quantity * unit_price) as revenue
from raw.lines;
