ALTER TABLE rollup_progress DROP COLUMN gone;
