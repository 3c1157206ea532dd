-- The labels that the server gives hosts. Those that agents give are among the facts.
CREATE TABLE host_labels (
    host_id INTEGER NOT NULL REFERENCES hosts,
    name    TEXT    NOT NULL,
    value   TEXT    NOT NULL, -- empty: hides a label of the agent
    PRIMARY KEY (host_id, name)
) STRICT, WITHOUT ROWID;
