-- Nothing: generations are of TimescaleDB alone. The numbers of both databases keep in step.
SELECT 1;
