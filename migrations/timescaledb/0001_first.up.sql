BEGIN;

-- Everything is made in one transaction, so that a migration that fails leaves nothing behind.
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE hosts (
    host_id    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    agent_id   uuid        NOT NULL UNIQUE,
    facts      jsonb       NOT NULL,
    first_seen timestamptz NOT NULL
);
COMMENT ON COLUMN hosts.facts IS 'HostFacts of the contract, as JSON.';

-- How far each agent's batches are stored, in each epoch of its spool. A cursor only ever grows: an epoch that comes back
-- goes on where it was. Every flush updates some: the page keeps room for the new version of a row, and no index mentions
-- the column that changes, so that an update stays on its page (HOT).
CREATE TABLE cursors (
    host_id integer NOT NULL REFERENCES hosts,
    epoch   bigint  NOT NULL,
    seq     bigint  NOT NULL,
    PRIMARY KEY (host_id, epoch)
) WITH (fillfactor = 50);
COMMENT ON COLUMN cursors.seq IS 'Sequence number, within the epoch, of the newest batch that is stored.';

-- Moves cursors from where they are expected to be (prev) to seq: all of them, or none and error GH001. Rows are locked in
-- order, so that two servers can not deadlock.
CREATE FUNCTION advance_cursors(hosts integer[], epochs bigint[], prevs bigint[], seqs bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    moved integer;
BEGIN
    PERFORM 1
    FROM cursors AS c JOIN unnest(hosts, epochs) AS n (host_id, epoch) USING (host_id, epoch)
    ORDER BY host_id, epoch FOR UPDATE OF c;
    UPDATE cursors AS c SET seq = n.seq
    FROM unnest(hosts, epochs, prevs, seqs) AS n (host_id, epoch, prev, seq)
    WHERE c.host_id = n.host_id AND c.epoch = n.epoch AND c.seq = n.prev;
    GET DIAGNOSTICS moved = ROW_COUNT;
    IF moved <> cardinality(hosts) THEN
        RAISE EXCEPTION '% of % cursors are not where they were expected', cardinality(hosts) - moved, cardinality(hosts)
            USING ERRCODE = 'GH001';
    END IF;
END
$$;

CREATE TABLE host_samples (
    time                               timestamptz NOT NULL,
    host_id                            integer NOT NULL,
    received_at                        timestamptz NOT NULL,
    cpu_usage_percent                  real,
    cpu_user_percent                   real,
    cpu_system_percent                 real,
    cpu_iowait_percent                 real,
    cpu_steal_percent                  real,
    load1                              real,
    load5                              real,
    load15                             real,
    memory_total_bytes                 bigint,
    memory_used_bytes                  bigint,
    memory_available_bytes             bigint,
    memory_cached_bytes                bigint,
    memory_buffers_bytes               bigint,
    memory_used_percent                real,
    swap_total_bytes                   bigint,
    swap_used_bytes                    bigint,
    swap_used_percent                  real,
    filesystem_fullest_percent         real,
    disks_read_bytes_per_second        real,
    disks_written_bytes_per_second     real,
    networks_receive_bytes_per_second  real,
    networks_transmit_bytes_per_second real,
    tcp_connections                    integer,
    tcp_established_connections        integer,
    tcp_listening_sockets              integer,
    udp_sockets                        integer,
    processes                          integer,
    uptime_seconds                     bigint,
    temperature_highest_celsius        real
);
SELECT create_hypertable('host_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX host_samples_host_time ON host_samples (host_id, time DESC);

CREATE TABLE core_samples (
    time          timestamptz NOT NULL,
    host_id       integer NOT NULL,
    core          text NOT NULL,
    usage_percent real
);
SELECT create_hypertable('core_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX core_samples_host_time ON core_samples (host_id, time DESC);

CREATE TABLE filesystem_samples (
    time                timestamptz NOT NULL,
    host_id             integer NOT NULL,
    mountpoint          text NOT NULL,
    device              text NOT NULL,
    fstype              text NOT NULL,
    size_bytes          bigint,
    used_bytes          bigint,
    available_bytes     bigint,
    used_percent        real,
    inodes              bigint,
    inodes_used         bigint,
    inodes_used_percent real
);
SELECT create_hypertable('filesystem_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX filesystem_samples_host_time ON filesystem_samples (host_id, time DESC);

CREATE TABLE disk_samples (
    time                     timestamptz NOT NULL,
    host_id                  integer NOT NULL,
    device                   text NOT NULL,
    read_bytes_per_second    real,
    written_bytes_per_second real,
    reads_per_second         real,
    writes_per_second        real,
    busy_percent             real,
    read_bytes_total         bigint,
    written_bytes_total      bigint
);
SELECT create_hypertable('disk_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX disk_samples_host_time ON disk_samples (host_id, time DESC);

CREATE TABLE network_samples (
    time                        timestamptz NOT NULL,
    host_id                     integer NOT NULL,
    interface                   text NOT NULL,
    receive_bytes_per_second    real,
    transmit_bytes_per_second   real,
    receive_packets_per_second  real,
    transmit_packets_per_second real,
    receive_errors_per_second   real,
    transmit_errors_per_second  real,
    receive_drops_per_second    real,
    transmit_drops_per_second   real,
    receive_bytes_total         bigint,
    transmit_bytes_total        bigint
);
SELECT create_hypertable('network_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX network_samples_host_time ON network_samples (host_id, time DESC);

CREATE TABLE sensor_samples (
    time                timestamptz NOT NULL,
    host_id             integer NOT NULL,
    sensor              text NOT NULL,
    temperature_celsius real
);
SELECT create_hypertable('sensor_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX sensor_samples_host_time ON sensor_samples (host_id, time DESC);

CREATE TABLE process_samples (
    time           timestamptz NOT NULL,
    host_id        integer NOT NULL,
    pid            text NOT NULL,
    name           text NOT NULL,
    username       text NOT NULL,
    cpu_percent    real,
    resident_bytes bigint
);
SELECT create_hypertable('process_samples', 'time', chunk_time_interval => interval '6 hours', create_default_indexes => false);
CREATE INDEX process_samples_host_time ON process_samples (host_id, time DESC);

-- Samples that were refused, with the reason, as they came.
CREATE TABLE quarantine (
    received_at timestamptz NOT NULL,
    host_id     integer     NOT NULL,
    epoch       bigint      NOT NULL,
    seq         bigint      NOT NULL,
    reason      text        NOT NULL,
    sample      bytea       NOT NULL
);
COMMENT ON COLUMN quarantine.sample IS 'Sample of the contract, in the protobuf wire format.';
CREATE INDEX quarantine_received_at ON quarantine (received_at DESC);

-- What agents took and lost.
CREATE TABLE gaps (
    host_id     integer     NOT NULL,
    from_time   timestamptz NOT NULL,
    to_time     timestamptz NOT NULL,
    reason      integer     NOT NULL,
    samples     integer     NOT NULL,
    received_at timestamptz NOT NULL
);
COMMENT ON COLUMN gaps.reason IS 'GapReason of the contract.';
CREATE INDEX gaps_host_to_time ON gaps (host_id, to_time DESC);

CREATE TABLE alerts (
    alert_id text  PRIMARY KEY,
    alert    jsonb NOT NULL
);
COMMENT ON COLUMN alerts.alert IS 'Alert of the contract, as JSON.';

CREATE TABLE sessions (
    token_hash bytea       PRIMARY KEY,
    user_name  text        NOT NULL,
    expires_at timestamptz NOT NULL
);

COMMIT;
