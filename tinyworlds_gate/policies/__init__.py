"""Scripted policies inside a model and in the true game: does the model rank them as the game does?"""
