"""Numerical statistics without gradients that families share; NumPy and SciPy, no modality, no schema."""
