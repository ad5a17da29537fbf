"""The paper's benchmark: Qin et al., "U²-Net", Pattern Recognition 106 (2020)."""

from typing import Final

METRICS: Final = ("max_f", "mae", "weighted_f", "s_measure", "boundary_f")

_MODELS: Final = ("U²-Net", "U²-Net†", "BASNet", "PoolNet")
_SCORES: Final = {
    "DUT-OMRON": (
        (0.823, 0.054, 0.757, 0.847, 0.702),
        (0.813, 0.060, 0.731, 0.837, 0.676),
        (0.805, 0.056, 0.751, 0.836, 0.694),
        (0.808, 0.056, 0.729, 0.836, 0.675),
    ),
    "DUTS-TE": (
        (0.873, 0.044, 0.804, 0.861, 0.765),
        (0.852, 0.054, 0.763, 0.847, 0.723),
        (0.860, 0.047, 0.803, 0.853, 0.758),
        (0.880, 0.040, 0.807, 0.871, 0.765),
    ),
    "HKU-IS": (
        (0.935, 0.031, 0.890, 0.916, 0.812),
        (0.928, 0.037, 0.867, 0.908, 0.794),
        (0.928, 0.032, 0.889, 0.909, 0.807),
        (0.932, 0.033, 0.881, 0.917, 0.811),
    ),
    "ECSSD": (
        (0.951, 0.033, 0.910, 0.928, 0.836),
        (0.943, 0.041, 0.885, 0.918, 0.808),
        (0.942, 0.037, 0.904, 0.916, 0.826),
        (0.944, 0.039, 0.896, 0.921, 0.813),
    ),
    "PASCAL-S": (
        (0.859, 0.074, 0.797, 0.844, 0.657),
        (0.849, 0.086, 0.768, 0.831, 0.627),
        (0.856, 0.076, 0.798, 0.838, 0.660),
        (0.865, 0.075, 0.798, 0.832, 0.644),
    ),
    "SOD": (
        (0.861, 0.108, 0.748, 0.786, 0.613),
        (0.841, 0.124, 0.697, 0.759, 0.559),
        (0.851, 0.113, 0.730, 0.769, 0.603),
        (0.871, 0.102, 0.759, 0.797, 0.606),
    ),
}


def rows(name: str) -> dict[str, dict[str, float]]:
    """Return each model's published scores on a data set; nothing if it isn't one of the six.

    Args:
        name: The set's name; case, ``-`` and ``_`` don't matter.
    """

    def plain(text: str) -> str:
        return text.lower().replace("-", "").replace("_", "")

    for known, table in _SCORES.items():
        if plain(known) == plain(name):
            return {
                m: dict(zip(METRICS, s, strict=True)) for m, s in zip(_MODELS, table, strict=True)
            }
    return {}
