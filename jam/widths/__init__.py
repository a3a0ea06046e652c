"""Spaces at fewer dimensions: their curve over widths, and search that begins with few."""
