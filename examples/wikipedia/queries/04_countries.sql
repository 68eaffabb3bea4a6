select country_iso as "countryIsoCode", edits, users, cities from wiki.countries order by edits desc, country_iso limit 15;
