-- The views for analysts, which the server makes of the catalogue: SQLite alters no table while a view is broken.
DROP VIEW IF EXISTS analysis_customs_1d;
DROP VIEW IF EXISTS analysis_customs_1h;
DROP VIEW IF EXISTS analysis_customs_1m;
DROP VIEW IF EXISTS analysis_customs_raw;
-- The first are what the server had made of the catalogue.
DROP TABLE IF EXISTS custom_samples_1d;
DROP TABLE IF EXISTS custom_samples_1h;
DROP TABLE IF EXISTS custom_samples_1m;
DROP TABLE custom_samples;
