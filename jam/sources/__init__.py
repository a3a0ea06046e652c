"""Where found data comes from: folders, published sets, arrays. All write the tables of `jam.data.schema`."""
