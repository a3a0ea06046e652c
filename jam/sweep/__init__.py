"""Sweeps: grids of many short trainings, and what their cells tell together."""
