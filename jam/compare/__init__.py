"""Models against models: compared, stitched, transferred."""
