"""
Samples of Gaussian Strawberry Fields programs. The simulation is exact up to a Fock cutoff, which is chosen from the state and
stated in ``meta``. ``simulate`` and ``check_time_domain`` are the entries; they are pure computation and block.

    simulator                 a program and a number of shots to ``Samples``
    time_domain               the layout of TDM programs, and their unrolling to one mode per pulse for photon counters
    delay_loops               homodyne and heterodyne readings of TDM programs, with loops that run on between shots
    circuit                   a program to a Gaussian state, loss per mode and detectors
    gates  embedding          each operation as a Gaussian map; graphs as states
    arguments                 the checked arguments of one operation
    projection                printed matrices to the nearest unitary, symplectic or covariance
    state                     means and covariance, hbar = 2
    photons                   exact photon-number statistics: distribution of the total, quantiles
    fock                      photon counts: independent groups of modes, and the sampler for each
    clicks  torontonian                 the samplers of threshold detectors
    twin_beams  amplitude_table         the samplers of photon counts for some states
    pure_states  hafnian                the samplers of photon counts for all states
    pattern_lattice           amplitudes given the photons counted so far
    fock_basis                numbering of the patterns of n photons in m modes
    quadratures               homodyne and heterodyne detection
    estimate                  the check of TDM programs before they are accepted
    limits                    limits, and the errors beyond them
"""

from .estimate import check_time_domain
from .simulator import simulate

__all__ = ["check_time_domain", "simulate"]
