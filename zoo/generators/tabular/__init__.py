"""Families of the tabular modality."""
