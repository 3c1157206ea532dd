BEGIN;

-- Where rollups are continuous aggregates (TimescaleDB's Community edition), each family has one or more generations of them:
-- a metric that is new needs new ones, because a continuous aggregate gets no new columns. The relation of a resolution, as
-- host_samples_1h, is a view of its generations, host_samples_1h_g1 and so on. Where there is no row, rollups are tables.
CREATE TABLE rollup_generations (
    family     text        NOT NULL,
    generation smallint    NOT NULL,
    -- From here on, to the next generation's start, this one counts. A whole day, so that no bucket is in two.
    from_time  timestamptz NOT NULL,
    PRIMARY KEY (family, generation)
);
COMMENT ON COLUMN rollup_generations.generation IS '0 for the tables of a database that was moved to continuous aggregates.';

-- How many generations there are, all families together: who rolls up sees by it that they changed meanwhile.
ALTER TABLE rollup_progress ADD COLUMN generations integer NOT NULL DEFAULT 0;
-- Of the time before this, finer rows are gone: a bucket made anew would have less than it has, whatever retention is now.
ALTER TABLE rollup_progress ADD COLUMN gone timestamptz NOT NULL DEFAULT '-infinity';

COMMIT;
