"""Spaces on test rows: scores, differences of them, and what the world tells of views."""
