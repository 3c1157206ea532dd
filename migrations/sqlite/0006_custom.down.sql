-- The first are what the server had made of the catalogue.
DROP TABLE IF EXISTS custom_samples_1d;
DROP TABLE IF EXISTS custom_samples_1h;
DROP TABLE IF EXISTS custom_samples_1m;
DROP TABLE custom_samples;
