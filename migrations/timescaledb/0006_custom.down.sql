BEGIN;

-- The views for analysts stand on what goes; the server makes them anew.
DO $$
DECLARE
    names text;
    item  record;
    step  text;
BEGIN
    SELECT string_agg('analysis.' || quote_ident(relname), ', ') INTO names FROM pg_class
    WHERE relnamespace = to_regnamespace('analysis') AND relkind = 'v' AND obj_description(oid, 'pg_class') LIKE 'made by gohub-server, %';
    IF names IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || names;
    END IF;
    -- What the server had made of the catalogue: tables, or views of generations.
    FOREACH step IN ARRAY ARRAY['1d', '1h', '1m'] LOOP
        IF EXISTS (SELECT FROM rollup_generations WHERE family = 'custom') THEN
            EXECUTE format('DROP VIEW IF EXISTS %I', 'custom_samples_' || step);
        ELSE
            EXECUTE format('DROP TABLE IF EXISTS %I', 'custom_samples_' || step);
        END IF;
        FOR item IN SELECT generation, 'custom_samples_' || step || '_g' || generation AS name FROM rollup_generations WHERE family = 'custom' LOOP
            IF item.generation > 0 THEN
                EXECUTE format('DROP MATERIALIZED VIEW IF EXISTS %I', item.name);
            ELSE
                EXECUTE format('DROP TABLE IF EXISTS %I', item.name);
            END IF;
        END LOOP;
    END LOOP;
END
$$;
DELETE FROM rollup_generations WHERE family = 'custom';
UPDATE rollup_progress SET generations = (SELECT count(*) FROM rollup_generations);
DROP TABLE custom_samples;

COMMIT;
