select invoice as "InvoiceNo", stock_code as "StockCode", quantity as "Quantity", at as ts, unit_price as "UnitPrice"
from raw.lines
where customer = '14911.0' and at >= '2011-11-10' and at < '2011-11-12'
order by ts, invoice, stock_code, quantity;
