ALTER TABLE cursors DROP COLUMN checksum;
