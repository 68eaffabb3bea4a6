select cohort, m0, m1, m2, m3 from retail.cohorts order by 1;
