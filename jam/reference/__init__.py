"""Aligned representations held against one that no alignment has seen: gains, their controls, and what words cause."""
