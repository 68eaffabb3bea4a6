select country as "Country", revenue, customers from retail.countries order by revenue desc limit 10;
