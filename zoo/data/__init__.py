"""Data in its native forms: containers, forms, encoders, data modules and the catalogue of data sets."""
