"""Blocks that three or more families use."""
