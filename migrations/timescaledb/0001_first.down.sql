BEGIN;

DROP TABLE host_samples;
DROP TABLE core_samples;
DROP TABLE filesystem_samples;
DROP TABLE disk_samples;
DROP TABLE network_samples;
DROP TABLE sensor_samples;
DROP TABLE process_samples;
DROP TABLE quarantine;
DROP TABLE gaps;
DROP TABLE alerts;
DROP TABLE sessions;
DROP FUNCTION advance_cursors;
DROP TABLE cursors;
DROP TABLE hosts;

COMMIT;
