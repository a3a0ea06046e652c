"""Small extracts for a page: maps of every model's space, pictures of the items shown, and who is near to whom."""
