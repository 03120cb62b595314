"""Errors of published potentials, with their sources."""

ELEMENTS: dict[str, dict[str, dict[str, float]]] = {
    "Ni": {
        "SNAP": {
            "energy_mae": 0.7752,
            "energy_rmse": 1.1741,
            "force_mae": 0.0377,
            "force_rmse": 0.0847,
        },
        "qSNAP": {
            "energy_mae": 0.7845,
            "energy_rmse": 1.0384,
            "force_mae": 0.0308,
            "force_rmse": 0.0748,
        },
        "MTP": {
            "energy_mae": 0.4819,
            "energy_rmse": 0.7456,
            "force_mae": 0.014,
            "force_rmse": 0.0269,
        },
        "GAP": {"energy_mae": 0.42, "force_mae": 0.02},
    },
    "Cu": {
        "SNAP": {
            "energy_mae": 0.5298,
            "energy_rmse": 0.7466,
            "force_mae": 0.0371,
            "force_rmse": 0.0829,
        },
        "qSNAP": {
            "energy_mae": 0.5618,
            "energy_rmse": 0.7714,
            "force_mae": 0.0241,
            "force_rmse": 0.0549,
        },
        "MTP": {
            "energy_mae": 0.4109,
            "energy_rmse": 0.5164,
            "force_mae": 0.0069,
            "force_rmse": 0.0135,
        },
        "GAP": {"energy_mae": 0.46, "force_mae": 0.01},
    },
    "Li": {
        "SNAP": {
            "energy_mae": 1.0331,
            "energy_rmse": 1.3088,
            "force_mae": 0.0277,
            "force_rmse": 0.0379,
        },
        "qSNAP": {
            "energy_mae": 0.7325,
            "energy_rmse": 0.8503,
            "force_mae": 0.0328,
            "force_rmse": 0.0443,
        },
        "MTP": {
            "energy_mae": 0.4867,
            "energy_rmse": 0.6602,
            "force_mae": 0.0101,
            "force_rmse": 0.0132,
        },
        "GAP": {"energy_mae": 0.49, "force_mae": 0.01},
    },
    "Mo": {
        "SNAP": {
            "energy_mae": 5.4849,
            "energy_rmse": 9.2524,
            "force_mae": 0.2065,
            "force_rmse": 0.376,
        },
        "qSNAP": {
            "energy_mae": 2.7703,
            "energy_rmse": 4.0399,
            "force_mae": 0.1838,
            "force_rmse": 0.3327,
        },
        "MTP": {
            "energy_mae": 2.938,
            "energy_rmse": 3.9778,
            "force_mae": 0.0901,
            "force_rmse": 0.1514,
        },
        "GAP": {"energy_mae": 2.24, "force_mae": 0.09},
    },
    "Si": {
        "SNAP": {
            "energy_mae": 6.4388,
            "energy_rmse": 8.0636,
            "force_mae": 0.1327,
            "force_rmse": 0.2053,
        },
        "qSNAP": {
            "energy_mae": 3.8064,
            "energy_rmse": 5.506,
            "force_mae": 0.1157,
            "force_rmse": 0.1769,
        },
        "MTP": {
            "energy_mae": 2.3135,
            "energy_rmse": 3.0256,
            "force_mae": 0.056,
            "force_rmse": 0.0881,
        },
        "GAP": {"energy_mae": 2.91, "force_mae": 0.07},
    },
    "Ge": {
        "SNAP": {
            "energy_mae": 6.59,
            "energy_rmse": 9.746,
            "force_mae": 0.1884,
            "force_rmse": 0.2951,
        },
        "qSNAP": {
            "energy_mae": 6.4478,
            "energy_rmse": 10.5525,
            "force_mae": 0.133,
            "force_rmse": 0.2005,
        },
        "MTP": {
            "energy_mae": 1.7901,
            "energy_rmse": 3.6841,
            "force_mae": 0.0465,
            "force_rmse": 0.0703,
        },
        "GAP": {"energy_mae": 2.06, "force_mae": 0.05},
    },
}
"""Test errors of Zuo et al. 2020 by element: energies meV per atom, forces eV/A.

SNAP, qSNAP and MTP are recomputed on the test frames from the coefficients published in
materialsvirtuallab/maml (mvl_models/pes). GAP is the table of ACEpotentials.jl,
examples/zuobench/error_table.jl, a secondary source rounded to two digits.
"""

ETHANOL = {
    "MACE": (0.4, 2.1),
    "Allegro": (0.4, 2.1),
    "NequIP": (0.4, 2.8),
    "BOTNet": (0.4, 3.2),
    "FCHL": (0.9, 6.2),
    "linear ACE": (1.2, 7.3),
    "ANI": (2.5, 13.4),
    "GAP": (3.5, 18.1),
}
"""Mean absolute errors of revised MD17, 1000 training frames, in meV per molecule and meV/A.

Batatia et al. 2022 (arXiv 2206.07697), Table 2: primary for MACE; it quotes the others, among them
linear ACE, FCHL, GAP and ANI of Kovacs et al., J. Chem. Theory Comput. 17, 7696 (2021).
"""
