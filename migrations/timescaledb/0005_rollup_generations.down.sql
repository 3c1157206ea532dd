BEGIN;

-- Continuous aggregates go with what they hold; the server makes tables of what samples there still are. Tables that had been
-- moved come back.
DO $$
DECLARE
    item record;
    step text;
    names text;
BEGIN
    -- The views for analysts stand on them; the server makes them anew.
    SELECT string_agg('analysis.' || quote_ident(relname), ', ') INTO names FROM pg_class
    WHERE relnamespace = to_regnamespace('analysis') AND relkind = 'v' AND obj_description(oid, 'pg_class') LIKE 'made by gohub-server, %';
    IF names IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || names;
    END IF;
    FOREACH step IN ARRAY ARRAY['1d', '1h', '1m'] LOOP
        FOR item IN SELECT DISTINCT family || '_samples_' || step AS name FROM rollup_generations LOOP
            EXECUTE format('DROP VIEW IF EXISTS %I', item.name);
        END LOOP;
        FOR item IN
            SELECT family || '_samples_' || step AS name, generation FROM rollup_generations ORDER BY generation DESC
        LOOP
            IF item.generation > 0 THEN
                EXECUTE format('DROP MATERIALIZED VIEW IF EXISTS %I', item.name || '_g' || item.generation);
            ELSE
                EXECUTE format('DELETE FROM %I WHERE time >= (SELECT min(from_time) FROM rollup_generations WHERE generation > 0 AND isfinite(from_time))',
                    item.name || '_g0');
                EXECUTE format('ALTER TABLE %I RENAME TO %I', item.name || '_g0', item.name);
                EXECUTE format('ALTER INDEX %I RENAME TO %I', item.name || '_g0_host_time', item.name || '_host_time');
            END IF;
        END LOOP;
    END LOOP;
    IF EXISTS (SELECT FROM rollup_generations WHERE generation = 0) THEN
        UPDATE rollup_progress SET until = least(until, (SELECT min(from_time) FROM rollup_generations WHERE generation > 0 AND isfinite(from_time)));
    ELSIF EXISTS (SELECT FROM rollup_generations) THEN
        UPDATE rollup_progress SET until = '-infinity';
    END IF;
END
$$;
DROP TABLE rollup_generations;
ALTER TABLE rollup_progress DROP COLUMN generations;
ALTER TABLE rollup_progress DROP COLUMN gone;

COMMIT;
