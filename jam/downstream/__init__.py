"""What a frozen layer, and a space made of it, are worth for classification: sources of labels, scores, similarity."""
