-- What programs tell the agents: one value a row, for nothing is known of them beforehand.
CREATE TABLE custom_samples (
    time    INTEGER NOT NULL,
    host_id INTEGER NOT NULL,
    name    TEXT NOT NULL,
    labels  TEXT NOT NULL, -- as {device="sda",side="left"}, in the order of their names
    value   REAL
) STRICT;
CREATE INDEX custom_samples_host_time ON custom_samples (host_id, time DESC);
