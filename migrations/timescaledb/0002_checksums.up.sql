BEGIN;

ALTER TABLE cursors ADD COLUMN checksum bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN cursors.checksum IS 'What the agent says of the content of its newest stored batch, 0 if nothing: a copy of its machine numbers other batches alike.';

-- As before, and takes the checksums along.
DROP FUNCTION advance_cursors(integer[], bigint[], bigint[], bigint[]);
CREATE FUNCTION advance_cursors(hosts integer[], epochs bigint[], prevs bigint[], seqs bigint[], checksums bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    PERFORM 1
    FROM cursors AS c JOIN unnest(hosts, epochs) AS n (host_id, epoch) USING (host_id, epoch)
    ORDER BY host_id, epoch FOR UPDATE OF c;
    UPDATE cursors AS c SET seq = n.seq, checksum = n.checksum
    FROM unnest(hosts, epochs, prevs, seqs, checksums) AS n (host_id, epoch, prev, seq, checksum)
    WHERE c.host_id = n.host_id AND c.epoch = n.epoch AND c.seq = n.prev;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(hosts) THEN
        RAISE EXCEPTION '% of % cursors are not where they were expected', cardinality(hosts) - moved, cardinality(hosts)
            USING ERRCODE = 'GH001';
    END IF;
END
$$;

COMMIT;
