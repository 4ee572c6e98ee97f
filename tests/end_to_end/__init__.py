"""Whole commands, from input to run folder."""
