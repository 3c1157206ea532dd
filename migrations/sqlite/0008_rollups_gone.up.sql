-- Of the time before this, finer rows are gone: a bucket made anew would have less than it has, whatever retention is now.
ALTER TABLE rollup_progress ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;
