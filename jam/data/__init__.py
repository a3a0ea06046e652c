"""Items and their views: the schema of a world on disk, and how what is in it is read."""
