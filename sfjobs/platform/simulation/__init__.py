"""
From a program to samples: Gaussian circuits of Strawberry Fields, simulated without approximation but for a cutoff that is
chosen from the state and reported. ``simulate`` is the only entry; it is pure computation and blocks.
"""

from .simulator import Samples, simulate

__all__ = ["Samples", "simulate"]
