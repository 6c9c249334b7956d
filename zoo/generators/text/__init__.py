"""Families of the text modality."""
