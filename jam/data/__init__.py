"""Sources of image-caption pairs, all writing the one pairs table of `schema`."""
