"""
Samples of Gaussian Strawberry Fields programs. The simulation is exact up to a Fock cutoff, which is chosen from the state and
stated in ``meta``. ``simulate`` is the entry; ``prepare`` is its first half, which checks a program and draws nothing. Both are
pure computation and block.

    simulator                 a program and a number of shots to ``Samples``
    preparation_time          an estimate of the time that ``prepare`` takes
    time_domain               the layout of TDM programs, and their unrolling to one mode per pulse for photon counters
    delay_loops               homodyne and heterodyne readings of TDM programs, with loops that run on between shots
    circuit_sampler           the samples of a circuit that counts photons
    circuit                   such a program to a Gaussian state, loss per mode and detectors
    trajectory_reader         a program with homodyne or heterodyne detection to a linear map and what is not linear
    trajectories              such a program
    trajectory_sampler        the samples of such a program; with ``phase_space`` and ``single_shot`` for what is not linear
    feed_forward  gate_arrays           parameters that depend on readings; gates with many values of them
    gate_reader               gates that act on a state
    gates  embedding          each operation as a Gaussian map; graphs as states
    arguments                 the checked arguments of one operation
    projection                printed matrices to the nearest unitary, symplectic or covariance
    state  factor_state       means and covariance, hbar = 2; the same in factor form, which keeps small variances
    photons                   exact photon-number statistics: distribution of the total, quantiles
    fock                      photon counts: independent groups of modes, and the sampler for each
    clicks  torontonian                 the samplers of threshold detectors
    twin_beams  amplitude_table         the samplers of photon counts for some states
    pure_states  hafnian                the samplers of photon counts for all states
    pattern_lattice  pattern_sieve      amplitudes given the photons counted so far
    displaced_table           the sampler for photon counts that follow readings
    fock_basis                numbering of the patterns of n photons in m modes
    conditioned               photon counts given readings of other modes
    limits                    limits, and the errors beyond them
"""

from .preparation_time import preparation_seconds
from .simulator import Simulation, prepare, simulate

__all__ = ["Simulation", "preparation_seconds", "prepare", "simulate"]
