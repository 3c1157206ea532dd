BEGIN;

-- What rolls up reads the same tables in another order, and holds this for as long as it does.
SELECT pg_advisory_xact_lock(7148601, 2);

-- Generations that are made of whole numbers go, with what they hold. What of it can not be made again, for its samples are not all
-- there, goes only where that is asked for: buckets before the oldest sample's, and its own if it may have had more.
DO $$
DECLARE
    item   record;
    step   record;
    oldest timestamptz;
    dropped timestamptz;
    lost   boolean;
BEGIN
    IF current_setting('gohub.discard_rollups', true) = 'on' THEN
        RETURN;
    END IF;
    SELECT gone INTO dropped FROM rollup_progress WHERE resolution = 1;
    FOR item IN SELECT family, generation FROM rollup_generations WHERE packed LOOP
        EXECUTE format('SELECT coalesce(min(time), ''infinity'') FROM %I', item.family || '_samples_packed') INTO oldest;
        FOR step IN SELECT * FROM (VALUES ('1m', interval '1 minute'), ('1h', interval '1 hour'), ('1d', interval '1 day')) AS s (name, width) LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE time + $1 <= $2 OR time < $2 AND time < $3)', item.family || '_samples_' || step.name || '_g' || item.generation)
                INTO lost USING step.width, oldest, dropped;
            IF lost THEN
                RAISE EXCEPTION 'rollups of the family % at % are older than its samples, and would be lost on the way down', item.family, step.name
                    USING HINT = 'Export them first, then set gohub.discard_rollups to on for the session; docs/storage.md tells how.';
            END IF;
        END LOOP;
    END LOOP;
END
$$;

-- The values go back to the columns of before, in compressed chunks too.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'timescaledb.max_tuples_decompressed_per_dml_transaction') THEN
        SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0;
    END IF;
END
$$;
UPDATE host_samples_packed SET
    cpu_usage_percent = coalesce(cpu_usage_percent_x16::real / 16::real, cpu_usage_percent),
    cpu_user_percent = coalesce(cpu_user_percent_x16::real / 16::real, cpu_user_percent),
    cpu_system_percent = coalesce(cpu_system_percent_x16::real / 16::real, cpu_system_percent),
    cpu_iowait_percent = coalesce(cpu_iowait_percent_x16::real / 16::real, cpu_iowait_percent),
    cpu_steal_percent = coalesce(cpu_steal_percent_x16::real / 16::real, cpu_steal_percent),
    load1 = coalesce(load1_x128::real / 128::real, load1),
    load5 = coalesce(load5_x128::real / 128::real, load5),
    load15 = coalesce(load15_x128::real / 128::real, load15),
    memory_used_bytes = coalesce(CASE WHEN memory_used_bytes_mib < 0 THEN memory_used_bytes_mib * -1024::bigint ELSE memory_used_bytes_mib * 1048576::bigint END, memory_used_bytes),
    memory_available_bytes = coalesce(CASE WHEN memory_available_bytes_mib < 0 THEN memory_available_bytes_mib * -1024::bigint ELSE memory_available_bytes_mib * 1048576::bigint END, memory_available_bytes),
    memory_cached_bytes = coalesce(CASE WHEN memory_cached_bytes_mib < 0 THEN memory_cached_bytes_mib * -1024::bigint ELSE memory_cached_bytes_mib * 1048576::bigint END, memory_cached_bytes),
    memory_buffers_bytes = coalesce(CASE WHEN memory_buffers_bytes_mib < 0 THEN memory_buffers_bytes_mib * -1024::bigint ELSE memory_buffers_bytes_mib * 1048576::bigint END, memory_buffers_bytes),
    memory_used_percent = coalesce(memory_used_percent_x16::real / 16::real, memory_used_percent),
    swap_used_bytes = coalesce(CASE WHEN swap_used_bytes_mib < 0 THEN swap_used_bytes_mib * -1024::bigint ELSE swap_used_bytes_mib * 1048576::bigint END, swap_used_bytes),
    swap_used_percent = coalesce(swap_used_percent_x16::real / 16::real, swap_used_percent),
    filesystem_fullest_percent = coalesce(filesystem_fullest_percent_x16::real / 16::real, filesystem_fullest_percent)
WHERE num_nonnulls(cpu_usage_percent_x16, cpu_user_percent_x16, cpu_system_percent_x16, cpu_iowait_percent_x16, cpu_steal_percent_x16, load1_x128, load5_x128, load15_x128, memory_used_bytes_mib, memory_available_bytes_mib, memory_cached_bytes_mib, memory_buffers_bytes_mib, memory_used_percent_x16, swap_used_bytes_mib, swap_used_percent_x16, filesystem_fullest_percent_x16) > 0;

UPDATE core_samples_packed SET
    usage_percent = coalesce(usage_percent_x16::real / 16::real, usage_percent)
WHERE num_nonnulls(usage_percent_x16) > 0;

UPDATE filesystem_samples_packed SET
    used_bytes = coalesce(CASE WHEN used_bytes_mib < 0 THEN used_bytes_mib * -1024::bigint ELSE used_bytes_mib * 1048576::bigint END, used_bytes),
    available_bytes = coalesce(CASE WHEN available_bytes_mib < 0 THEN available_bytes_mib * -1024::bigint ELSE available_bytes_mib * 1048576::bigint END, available_bytes),
    used_percent = coalesce(used_percent_x16::real / 16::real, used_percent),
    inodes_used_percent = coalesce(inodes_used_percent_x16::real / 16::real, inodes_used_percent)
WHERE num_nonnulls(used_bytes_mib, available_bytes_mib, used_percent_x16, inodes_used_percent_x16) > 0;

UPDATE disk_samples_packed SET
    busy_percent = coalesce(busy_percent_x16::real / 16::real, busy_percent)
WHERE num_nonnulls(busy_percent_x16) > 0;

UPDATE process_samples_packed SET
    cpu_percent = coalesce(cpu_percent_x16::real / 16::real, cpu_percent),
    resident_bytes = coalesce(CASE WHEN resident_bytes_mib < 0 THEN resident_bytes_mib * -1024::bigint ELSE resident_bytes_mib * 1048576::bigint END, resident_bytes)
WHERE num_nonnulls(cpu_percent_x16, resident_bytes_mib) > 0;

-- Views of what goes: those for analysts, which the server makes anew, those of the tables, and those of generations, which are made
-- here of the generations that stay. A generation that is made of whole numbers goes with what it holds; what samples there still are
-- of its time are rolled up again.
DO $$
DECLARE
    names    text;
    item     record;
    step     text;
    relation text;
    parts    text;
BEGIN
    SELECT string_agg('analysis.' || quote_ident(relname), ', ') INTO names FROM pg_class
    WHERE relnamespace = to_regnamespace('analysis') AND relkind = 'v' AND obj_description(oid, 'pg_class') LIKE 'made by gohub-server, %';
    IF names IS NOT NULL THEN
        EXECUTE 'DROP VIEW ' || names;
    END IF;
    FOREACH relation IN ARRAY ARRAY['host_samples', 'core_samples', 'filesystem_samples', 'disk_samples', 'process_samples'] LOOP
        EXECUTE format('DROP VIEW IF EXISTS %I', relation);
    END LOOP;
    UPDATE rollup_progress SET until = least(until, (SELECT min(from_time) FROM rollup_generations WHERE packed)); -- NULL is no bound
    FOREACH step IN ARRAY ARRAY['1d', '1h', '1m'] LOOP
        FOR item IN SELECT DISTINCT family FROM rollup_generations WHERE packed LOOP
            relation := item.family || '_samples_' || step;
            SELECT string_agg(format('SELECT %s FROM %I WHERE time >= %L AND time < %L', (
                SELECT string_agg(format(CASE
                        WHEN EXISTS (SELECT FROM pg_attribute AS had WHERE had.attrelid = (relation || '_g' || g.generation)::regclass AND had.attname = v.attname)
                        THEN '%1$I::%2$s AS %1$I' WHEN v.attname LIKE '%\_count' THEN '0 AS %1$I' ELSE 'NULL::%2$s AS %1$I' END,
                    v.attname, format_type(v.atttypid, v.atttypmod)), ', ' ORDER BY v.attnum)
                FROM pg_attribute AS v WHERE v.attrelid = relation::regclass AND v.attnum > 0 AND NOT v.attisdropped
            ), relation || '_g' || g.generation, g.from_time, g.to_time), ' UNION ALL ') INTO parts
            FROM (
                SELECT generation, from_time, lead(from_time, 1, 'infinity') OVER (ORDER BY generation) AS to_time
                FROM rollup_generations WHERE family = item.family AND NOT packed
            ) AS g;
            EXECUTE format('DROP VIEW %I', relation);
            IF EXISTS (SELECT FROM rollup_generations WHERE family = item.family AND generation = 0) THEN
                EXECUTE format('DELETE FROM %I WHERE time >= (SELECT min(from_time) FROM rollup_generations WHERE family = %L AND packed)', relation || '_g0', item.family);
            END IF;
            IF parts IS NOT NULL THEN
                EXECUTE format('CREATE VIEW %I AS ', relation) || parts;
            END IF;
            FOR names IN SELECT relation || '_g' || generation FROM rollup_generations WHERE family = item.family AND packed LOOP
                EXECUTE format('DROP MATERIALIZED VIEW %I', names);
            END LOOP;
        END LOOP;
    END LOOP;
    DELETE FROM rollup_generations WHERE packed;
    UPDATE rollup_progress SET generations = (SELECT count(*) FROM rollup_generations);
END
$$;
ALTER TABLE rollup_generations DROP COLUMN packed;

ALTER TABLE host_samples_packed
    DROP COLUMN cpu_usage_percent_x16,
    DROP COLUMN cpu_user_percent_x16,
    DROP COLUMN cpu_system_percent_x16,
    DROP COLUMN cpu_iowait_percent_x16,
    DROP COLUMN cpu_steal_percent_x16,
    DROP COLUMN load1_x128,
    DROP COLUMN load5_x128,
    DROP COLUMN load15_x128,
    DROP COLUMN memory_used_bytes_mib,
    DROP COLUMN memory_available_bytes_mib,
    DROP COLUMN memory_cached_bytes_mib,
    DROP COLUMN memory_buffers_bytes_mib,
    DROP COLUMN memory_used_percent_x16,
    DROP COLUMN swap_used_bytes_mib,
    DROP COLUMN swap_used_percent_x16,
    DROP COLUMN filesystem_fullest_percent_x16;
ALTER TABLE host_samples_packed RENAME TO host_samples;
ALTER TABLE core_samples_packed
    DROP COLUMN usage_percent_x16;
ALTER TABLE core_samples_packed RENAME TO core_samples;
ALTER TABLE filesystem_samples_packed
    DROP COLUMN used_bytes_mib,
    DROP COLUMN available_bytes_mib,
    DROP COLUMN used_percent_x16,
    DROP COLUMN inodes_used_percent_x16;
ALTER TABLE filesystem_samples_packed RENAME TO filesystem_samples;
ALTER TABLE disk_samples_packed
    DROP COLUMN busy_percent_x16;
ALTER TABLE disk_samples_packed RENAME TO disk_samples;
ALTER TABLE process_samples_packed
    DROP COLUMN cpu_percent_x16,
    DROP COLUMN resident_bytes_mib;
ALTER TABLE process_samples_packed RENAME TO process_samples;

COMMIT;
