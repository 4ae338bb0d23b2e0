"""Soak: one run is killed again and again and must end as an uninterrupted run does. ``python -m tests.soak``"""
