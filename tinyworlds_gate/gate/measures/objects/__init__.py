"""Score what is small and moves: recall, precision, place and kind of objects in generated frames (G6).

Axes: N clips, F frames of a clip, S generated frames, H x W pixels, h x w cells (about 64 along the longer side).
"""
