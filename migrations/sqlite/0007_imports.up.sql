-- How far files of an export are imported. A file is known by its content.
CREATE TABLE imports (
    digest TEXT    PRIMARY KEY, -- SHA-256, in hexadecimal
    name   TEXT    NOT NULL,
    rows   INTEGER NOT NULL, -- of the file that are stored, or left out for good
    whole  INTEGER NOT NULL DEFAULT 0 -- 1: nothing of the file is left
) STRICT, WITHOUT ROWID;
