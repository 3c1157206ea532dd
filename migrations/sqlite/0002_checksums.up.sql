-- What the agent says of the content of its newest stored batch, 0 if nothing: a copy of its machine numbers other batches
-- alike.
ALTER TABLE cursors ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
