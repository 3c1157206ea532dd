BEGIN;

-- What programs tell the agents: one value a row, for nothing is known of them beforehand.
CREATE TABLE custom_samples (
    time    timestamptz NOT NULL,
    host_id integer NOT NULL,
    name    text NOT NULL,
    labels  text NOT NULL,
    value   double precision
);
SELECT create_hypertable('custom_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX custom_samples_host_time ON custom_samples (host_id, time DESC);
COMMENT ON COLUMN custom_samples.labels IS 'As {device="sda",side="left"}, in the order of their names.';

COMMIT;
