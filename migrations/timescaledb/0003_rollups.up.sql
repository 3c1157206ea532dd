BEGIN;

-- How far each resolution is rolled up. The tables themselves follow from the catalogue, and the server makes them.
CREATE TABLE rollup_progress (
    resolution smallint    PRIMARY KEY,
    -- Up to here the rollup has all, but for what rollup_late tells.
    until      timestamptz NOT NULL,
    -- Rows from before this that are appended are late: up to here the rollup is made, or is being made.
    claimed    timestamptz NOT NULL
);
COMMENT ON COLUMN rollup_progress.resolution IS '1 for minutes, 2 for hours, 3 for days.';
INSERT INTO rollup_progress VALUES (1, '-infinity', '-infinity'), (2, '-infinity', '-infinity'), (3, '-infinity', '-infinity');

-- What came after its time had been rolled up, for whoever rolls up next.
CREATE TABLE rollup_late (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resolution smallint    NOT NULL,
    host_id    integer     NOT NULL,
    from_time  timestamptz NOT NULL,
    to_time    timestamptz NOT NULL
);

-- As before, and holds the checksum of what a batch follows against the cursor's, where both are known: a copy of a machine, on
-- another server, may have numbered other batches alike. And it notes what is late. The lock orders it with who claims time for
-- a rollup: either the rows are committed before the rollup reads them, or they are seen to be late here.
DROP FUNCTION advance_cursors(integer[], bigint[], bigint[], bigint[], bigint[]);
CREATE FUNCTION advance_cursors(hosts integer[], epochs bigint[], prevs bigint[], prev_checksums bigint[], seqs bigint[],
    checksums bigint[], oldest bigint[], newest bigint[], oldest_of_all bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved      integer;
    claimed_at bigint;
BEGIN
    PERFORM 1
    FROM cursors AS c JOIN unnest(hosts, epochs) AS n (host_id, epoch) USING (host_id, epoch)
    ORDER BY host_id, epoch FOR UPDATE OF c;
    UPDATE cursors AS c SET seq = n.seq, checksum = n.checksum
    FROM unnest(hosts, epochs, prevs, prev_checksums, seqs, checksums) AS n (host_id, epoch, prev, prev_checksum, seq, checksum)
    WHERE c.host_id = n.host_id AND c.epoch = n.epoch AND c.seq = n.prev
      AND (c.checksum = n.prev_checksum OR c.checksum = 0 OR n.prev_checksum = 0);
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(hosts) THEN
        RAISE EXCEPTION '% of % cursors are not where they were expected', cardinality(hosts) - moved, cardinality(hosts)
            USING ERRCODE = 'GH001';
    END IF;
    PERFORM pg_advisory_xact_lock_shared(7148601, 1);
    SELECT CASE claimed WHEN '-infinity' THEN -9223372036854775808 ELSE (extract(epoch FROM claimed) * 1000)::bigint END
    INTO claimed_at FROM rollup_progress WHERE resolution = 1;
    IF oldest_of_all < claimed_at THEN
        INSERT INTO rollup_late (resolution, host_id, from_time, to_time)
        SELECT 1, n.host_id, to_timestamp(n.oldest / 1000.0), to_timestamp((n.newest + 1) / 1000.0)
        FROM unnest(hosts, oldest, newest) AS n (host_id, oldest, newest)
        WHERE n.oldest < claimed_at;
    END IF;
END
$$;

COMMIT;
