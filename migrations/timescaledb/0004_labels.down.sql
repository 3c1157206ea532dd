BEGIN;
-- The views for analysts, which the server makes of the catalogue.
DROP SCHEMA IF EXISTS analysis CASCADE;
DROP TABLE host_labels;
COMMIT;
