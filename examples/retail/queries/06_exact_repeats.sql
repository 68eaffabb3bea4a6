select count(*) as repeated_rows, sum(n - 1) as surplus_lines
from (select count(*) as n from raw.lines group by invoice, stock_code, description, quantity, at, unit_price, customer, country having count(*) > 1);
