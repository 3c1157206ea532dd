DROP TABLE host_labels;
