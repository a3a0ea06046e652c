"""Representations held against the true state of the embedded world."""
