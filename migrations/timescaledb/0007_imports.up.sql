BEGIN;

CREATE TABLE imports (
    digest text    PRIMARY KEY,
    name   text    NOT NULL,
    rows   bigint  NOT NULL,
    whole  boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE imports IS 'How far files of an export are imported. A file is known by its content.';
COMMENT ON COLUMN imports.digest IS 'SHA-256, in hexadecimal.';
COMMENT ON COLUMN imports.rows IS 'Of the file, how many rows are stored, or left out for good.';
COMMENT ON COLUMN imports.whole IS 'Nothing of the file is left.';

COMMIT;
