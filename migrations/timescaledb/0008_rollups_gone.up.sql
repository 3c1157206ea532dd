-- Nothing: TimescaleDB has it since 5. The numbers of both databases keep in step.
SELECT 1;
