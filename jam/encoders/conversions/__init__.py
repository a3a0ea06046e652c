"""Files of a package as a folder of the Hugging Face layout: ``convert(source, target)`` of each module here.

``source`` holds the files under their local names, ``target`` is an empty folder.
"""
