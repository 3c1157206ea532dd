-- Times are Unix time in milliseconds.
CREATE TABLE hosts (
    host_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    agent_id   TEXT    NOT NULL UNIQUE,
    facts      TEXT    NOT NULL, -- HostFacts of the contract, as JSON
    first_seen INTEGER NOT NULL
) STRICT;

-- How far each agent's batches are stored, in each epoch of its spool. A cursor only ever grows: an epoch that comes back
-- goes on where it was.
CREATE TABLE cursors (
    host_id INTEGER NOT NULL REFERENCES hosts,
    epoch   INTEGER NOT NULL,
    seq     INTEGER NOT NULL, -- of the newest stored batch of the epoch
    PRIMARY KEY (host_id, epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE host_samples (
    time                               INTEGER NOT NULL,
    host_id                            INTEGER NOT NULL,
    received_at                        INTEGER NOT NULL,
    cpu_usage_percent                  REAL,
    cpu_user_percent                   REAL,
    cpu_system_percent                 REAL,
    cpu_iowait_percent                 REAL,
    cpu_steal_percent                  REAL,
    load1                              REAL,
    load5                              REAL,
    load15                             REAL,
    memory_total_bytes                 INTEGER,
    memory_used_bytes                  INTEGER,
    memory_available_bytes             INTEGER,
    memory_cached_bytes                INTEGER,
    memory_buffers_bytes               INTEGER,
    memory_used_percent                REAL,
    swap_total_bytes                   INTEGER,
    swap_used_bytes                    INTEGER,
    swap_used_percent                  REAL,
    filesystem_fullest_percent         REAL,
    disks_read_bytes_per_second        REAL,
    disks_written_bytes_per_second     REAL,
    networks_receive_bytes_per_second  REAL,
    networks_transmit_bytes_per_second REAL,
    tcp_connections                    INTEGER,
    tcp_established_connections        INTEGER,
    tcp_listening_sockets              INTEGER,
    udp_sockets                        INTEGER,
    processes                          INTEGER,
    uptime_seconds                     INTEGER,
    temperature_highest_celsius        REAL
) STRICT;
CREATE INDEX host_samples_host_time ON host_samples (host_id, time DESC);

CREATE TABLE core_samples (
    time          INTEGER NOT NULL,
    host_id       INTEGER NOT NULL,
    core          TEXT NOT NULL,
    usage_percent REAL
) STRICT;
CREATE INDEX core_samples_host_time ON core_samples (host_id, time DESC);

CREATE TABLE filesystem_samples (
    time                INTEGER NOT NULL,
    host_id             INTEGER NOT NULL,
    mountpoint          TEXT NOT NULL,
    device              TEXT NOT NULL,
    fstype              TEXT NOT NULL,
    size_bytes          INTEGER,
    used_bytes          INTEGER,
    available_bytes     INTEGER,
    used_percent        REAL,
    inodes              INTEGER,
    inodes_used         INTEGER,
    inodes_used_percent REAL
) STRICT;
CREATE INDEX filesystem_samples_host_time ON filesystem_samples (host_id, time DESC);

CREATE TABLE disk_samples (
    time                     INTEGER NOT NULL,
    host_id                  INTEGER NOT NULL,
    device                   TEXT NOT NULL,
    read_bytes_per_second    REAL,
    written_bytes_per_second REAL,
    reads_per_second         REAL,
    writes_per_second        REAL,
    busy_percent             REAL,
    read_bytes_total         INTEGER,
    written_bytes_total      INTEGER
) STRICT;
CREATE INDEX disk_samples_host_time ON disk_samples (host_id, time DESC);

CREATE TABLE network_samples (
    time                        INTEGER NOT NULL,
    host_id                     INTEGER NOT NULL,
    interface                   TEXT NOT NULL,
    receive_bytes_per_second    REAL,
    transmit_bytes_per_second   REAL,
    receive_packets_per_second  REAL,
    transmit_packets_per_second REAL,
    receive_errors_per_second   REAL,
    transmit_errors_per_second  REAL,
    receive_drops_per_second    REAL,
    transmit_drops_per_second   REAL,
    receive_bytes_total         INTEGER,
    transmit_bytes_total        INTEGER
) STRICT;
CREATE INDEX network_samples_host_time ON network_samples (host_id, time DESC);

CREATE TABLE sensor_samples (
    time                INTEGER NOT NULL,
    host_id             INTEGER NOT NULL,
    sensor              TEXT NOT NULL,
    temperature_celsius REAL
) STRICT;
CREATE INDEX sensor_samples_host_time ON sensor_samples (host_id, time DESC);

CREATE TABLE process_samples (
    time           INTEGER NOT NULL,
    host_id        INTEGER NOT NULL,
    pid            TEXT NOT NULL,
    name           TEXT NOT NULL,
    username       TEXT NOT NULL,
    cpu_percent    REAL,
    resident_bytes INTEGER
) STRICT;
CREATE INDEX process_samples_host_time ON process_samples (host_id, time DESC);

-- Samples that were refused, with the reason, as they came.
CREATE TABLE quarantine (
    received_at INTEGER NOT NULL,
    host_id     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    sample      BLOB    NOT NULL -- Sample of the contract, in the protobuf wire format
) STRICT;
CREATE INDEX quarantine_received_at ON quarantine (received_at DESC);

-- What agents took and lost.
CREATE TABLE gaps (
    host_id     INTEGER NOT NULL,
    from_time   INTEGER NOT NULL,
    to_time     INTEGER NOT NULL,
    reason      INTEGER NOT NULL, -- GapReason of the contract
    samples     INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX gaps_host_to_time ON gaps (host_id, to_time DESC);

CREATE TABLE alerts (
    alert_id TEXT PRIMARY KEY,
    alert    TEXT NOT NULL -- Alert of the contract, as JSON
) STRICT;

CREATE TABLE sessions (
    token_hash BLOB    PRIMARY KEY,
    user_name  TEXT    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;
