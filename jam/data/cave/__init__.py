"""The cave: a small world whose true state, images and sentences are all known.

A *scene* is one or two coloured handwritten digits on a dark ground. Images are its shadows in light, captions its
shadows in language, and the ``reality`` column is the scene itself. One idea a module: `scenes` (the world), `render`
(scene → image), `grammar` (scene → sentences, true ones and hard negatives), `build` (disjoint splits, files).
"""
