"""What one model has learned of labels, taken over by another: heads through a map of vectors, and distillation."""
