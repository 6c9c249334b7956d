"""Families of the timeseries modality."""
