-- How far each resolution is rolled up: 1 for minutes, 2 for hours, 3 for days. The tables themselves follow from the
-- catalogue, and the server makes them.
CREATE TABLE rollup_progress (
    resolution INTEGER PRIMARY KEY,
    until      INTEGER NOT NULL -- up to here the rollup has all, but for what rollup_late tells; 0 for nothing
) STRICT;
INSERT INTO rollup_progress VALUES (1, 0), (2, 0), (3, 0);

-- What came after its time had been rolled up, for the next time.
CREATE TABLE rollup_late (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    resolution INTEGER NOT NULL,
    host_id    INTEGER NOT NULL,
    from_time  INTEGER NOT NULL,
    to_time    INTEGER NOT NULL
) STRICT;
