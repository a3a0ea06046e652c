"""The cave: a world whose true state, statistics, images and sentences are all known.

A *scene* is one to three coloured handwritten digits in the six cells of a grid. Images are its shadows in light,
captions its shadows in language. One idea a module: `state` (what is), `habitats` (what occurs with what), `image`
(scene → image), `lexicon`, `grammar` and `parser` (scene → caption → claim), `claims` (what is true of which scene),
`edits` (captions and scenes with one thing changed), `sets` (disjoint draws), `build` (files).
"""
