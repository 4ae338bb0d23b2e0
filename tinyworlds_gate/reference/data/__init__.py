"""Frames of a game: get or generate them, split them by episode, and draw clips from them."""
