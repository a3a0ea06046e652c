"""Adapters that read all tokens of an item, and the Perceiver resampler that reduces them to a few vectors."""
