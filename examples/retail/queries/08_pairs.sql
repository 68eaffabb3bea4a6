with p as (select distinct invoice, stock_code from raw.lines where invoice not like 'C%' and stock_code ~ '^[0-9]{5}')
select a.stock_code as a, b.stock_code as b, count(*) as invoices
from p a join p b on a.invoice = b.invoice and a.stock_code < b.stock_code
group by 1, 2 order by invoices desc, a, b limit 8;
