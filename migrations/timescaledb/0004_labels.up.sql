BEGIN;

CREATE TABLE host_labels (
    host_id integer NOT NULL REFERENCES hosts,
    name    text    NOT NULL,
    value   text    NOT NULL,
    PRIMARY KEY (host_id, name)
);
COMMENT ON TABLE host_labels IS 'The labels that the server gives hosts. Those that agents give are among the facts.';
COMMENT ON COLUMN host_labels.value IS 'Empty: hides a label of the agent.';

COMMIT;
