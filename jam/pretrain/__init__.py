"""Encoders trained from scratch on one modality alone: what the cave has in place of published ones."""
