BEGIN;

-- What rolls up reads the same tables in another order, and holds this for as long as it does: that of a server of before ends first.
SELECT pg_advisory_xact_lock(7148601, 2);

-- Whole numbers for what is one: shares as 16ths, load averages as 128ths, sizes as MiB (negative: KiB), of which compression leaves
-- a part of what it leaves of floats and bytes. A row with a value that is no such number has all of its values in the
-- columns of before: nothing is rounded. The server makes views of both, under the tables' old names.
ALTER TABLE host_samples RENAME TO host_samples_packed;
ALTER TABLE host_samples_packed
    ADD COLUMN cpu_usage_percent_x16 integer,
    ADD COLUMN cpu_user_percent_x16 integer,
    ADD COLUMN cpu_system_percent_x16 integer,
    ADD COLUMN cpu_iowait_percent_x16 integer,
    ADD COLUMN cpu_steal_percent_x16 integer,
    ADD COLUMN load1_x128 integer,
    ADD COLUMN load5_x128 integer,
    ADD COLUMN load15_x128 integer,
    ADD COLUMN memory_used_bytes_mib integer,
    ADD COLUMN memory_available_bytes_mib integer,
    ADD COLUMN memory_cached_bytes_mib integer,
    ADD COLUMN memory_buffers_bytes_mib integer,
    ADD COLUMN memory_used_percent_x16 integer,
    ADD COLUMN swap_used_bytes_mib integer,
    ADD COLUMN swap_used_percent_x16 integer,
    ADD COLUMN filesystem_fullest_percent_x16 integer;

ALTER TABLE core_samples RENAME TO core_samples_packed;
ALTER TABLE core_samples_packed
    ADD COLUMN usage_percent_x16 integer;

ALTER TABLE filesystem_samples RENAME TO filesystem_samples_packed;
ALTER TABLE filesystem_samples_packed
    ADD COLUMN used_bytes_mib integer,
    ADD COLUMN available_bytes_mib integer,
    ADD COLUMN used_percent_x16 integer,
    ADD COLUMN inodes_used_percent_x16 integer;

ALTER TABLE disk_samples RENAME TO disk_samples_packed;
ALTER TABLE disk_samples_packed
    ADD COLUMN busy_percent_x16 integer;

ALTER TABLE process_samples RENAME TO process_samples_packed;
ALTER TABLE process_samples_packed
    ADD COLUMN cpu_percent_x16 integer,
    ADD COLUMN resident_bytes_mib integer;

-- Whether a generation is made of both. What is rolled up by one that is not, a server stores without whole numbers.
ALTER TABLE rollup_generations ADD COLUMN packed boolean NOT NULL DEFAULT false;

-- The views for analysts stand on the tables. The server makes anew those that have not the mark that it gives.
DO $$
DECLARE
    view text;
BEGIN
    FOR view IN SELECT relname FROM pg_class
        WHERE relnamespace = to_regnamespace('analysis') AND relkind = 'v' AND obj_description(oid, 'pg_class') LIKE 'made by gohub-server, %'
    LOOP
        EXECUTE format('COMMENT ON VIEW analysis.%I IS %L', view, 'made by gohub-server, of tables without whole numbers');
    END LOOP;
END
$$;

COMMIT;
