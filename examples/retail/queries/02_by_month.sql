select strftime(month, '%Y-%m') as month, revenue, invoices, customers from retail.months order by 1;
