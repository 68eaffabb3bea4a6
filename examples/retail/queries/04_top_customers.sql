select customer, revenue, invoices, first_ts, last_ts from retail.customers order by revenue desc, customer limit 10;
