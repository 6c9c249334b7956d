"""Families of the image modality."""
