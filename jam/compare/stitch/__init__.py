"""Stitching: the bottom of one model under the top of another, with a map between, and what that costs."""
