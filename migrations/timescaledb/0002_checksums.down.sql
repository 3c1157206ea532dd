BEGIN;

DROP FUNCTION advance_cursors(integer[], bigint[], bigint[], bigint[], bigint[]);
CREATE FUNCTION advance_cursors(hosts integer[], epochs bigint[], prevs bigint[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    PERFORM 1
    FROM cursors AS c JOIN unnest(hosts, epochs) AS n (host_id, epoch) USING (host_id, epoch)
    ORDER BY host_id, epoch FOR UPDATE OF c;
    UPDATE cursors AS c SET seq = n.seq
    FROM unnest(hosts, epochs, prevs, seqs) AS n (host_id, epoch, prev, seq)
    WHERE c.host_id = n.host_id AND c.epoch = n.epoch AND c.seq = n.prev;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(hosts) THEN
        RAISE EXCEPTION '% of % cursors are not where they were expected', cardinality(hosts) - moved, cardinality(hosts)
            USING ERRCODE = 'GH001';
    END IF;
END
$$;
ALTER TABLE cursors DROP COLUMN checksum;

COMMIT;
