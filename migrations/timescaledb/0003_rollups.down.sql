BEGIN;

DROP FUNCTION advance_cursors(integer[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint[], bigint);
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
-- What the server had made of the catalogue at this version.
DO $$
DECLARE
    family text;
    step   text;
BEGIN
    FOREACH step IN ARRAY ARRAY['1d', '1h', '1m'] LOOP
        FOREACH family IN ARRAY ARRAY['host', 'core', 'filesystem', 'disk', 'network', 'sensor'] LOOP
            IF EXISTS (SELECT FROM timescaledb_information.continuous_aggregates WHERE view_name = family || '_samples_' || step) THEN
                EXECUTE format('DROP MATERIALIZED VIEW %I', family || '_samples_' || step);
            ELSE
                EXECUTE format('DROP TABLE IF EXISTS %I', family || '_samples_' || step);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
DROP TABLE rollup_late;
DROP TABLE rollup_progress;

COMMIT;
