select order_id, customer_id, order_date, status, credit_card, coupon, bank_transfer, gift_card, amount from jaffle.orders order by 1;
