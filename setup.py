"""The packages of the wheel: two top-level folders of the repository are part of `tinyworlds_gate` once installed."""

from setuptools import find_packages, setup

MAPPED = {"tinyworlds_gate.validation": "validation", "tinyworlds_gate.configs": "configs"}

setup(packages=[*find_packages(include=["tinyworlds_gate*"]), *MAPPED], package_dir=MAPPED)
