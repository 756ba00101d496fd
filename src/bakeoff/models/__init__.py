"""Models: mixers in backbones, a velocity model around them, codecs, and the matching of their sizes."""
