-- Nothing: SQLite does not compress. The numbers of both databases keep in step.
SELECT 1;
