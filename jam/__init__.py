"""JAM and its siblings: align frozen, independently trained encoders of different modalities."""
