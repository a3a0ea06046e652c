"""Multimodal models pretrained from scratch on pairs, an image tower and a text tower with one shared space.

Miniatures: objectives are composed of the same parts as those of CLIP, ALIGN, BLIP and FLAVA, at a size that a CPU
trains in seconds. None is the model that it is named after, and none replicates its architecture, data or results.
"""
