"""What the papers claim of their tables: one cell has a smaller error than another."""

from __future__ import annotations

from dataclasses import dataclass

from vtrack.training.studies.papers import CLEAN_AND_OCCLUDED, CROSS_DATA, RHT_BACKBONES, resolutions


@dataclass(frozen=True)
class Claim:
    """What a paper says: one cell of a table has a smaller error than another."""

    text: str
    paper: str
    """The paper's two figures, the larger first; `control` if the comparison is ours."""
    better: tuple[str, str]
    """Row and column."""
    than: tuple[str, str]


_OF_WFLW = {  # KeyPosS, table 5: one-hot, two-hot, keyposs (biased), distribution-aware, keyposs (unbiased)
    64: (4.28, 4.06, 3.99, 3.96, 3.98),
    32: (5.23, 4.55, 4.30, 4.25, 4.27),
    16: (7.59, 5.83, 5.03, 5.38, 4.94),
    8: (14.74, 12.3, 9.96, 11.83, 7.68),
    4: (28.8, 27.4, 19.48, 26.05, 12.04),
}


def claims(size: int) -> dict[str, list[Claim]]:
    """What the papers claim of each table."""
    keyposs = []
    for resolution in resolutions(size):
        row, (_, two_hot, biased, aware, unbiased) = f"{resolution} x {resolution}", _OF_WFLW[resolution]
        for paper, decoder, labels in (
            (f"{two_hot} → {biased}", "two-hot", "biased"),
            (f"{aware} → {unbiased}", "distribution-aware", "unbiased"),
        ):
            better, than = (row, f"keyposs ({labels})"), (row, f"{decoder} ({labels})")
            keyposs.append(Claim(f"{row}, {labels}: multilateration beats {decoder}", f"{paper} (WFLW)", better, than))
    smallest = f"{resolutions(size)[-1]} x {resolutions(size)[-1]}"
    box, tight = "original box", "shrunk 10 %"
    full = ("+ both, multi-scale (rht)", "NME")
    return {
        "keyposs": keyposs,
        "keyposs-kernels": [
            Claim(
                f"{smallest}: 2 x 2 anchors beat 3 x 3",
                "26.57 → 12.04 (WFLW)",
                (smallest, "2 x 2"),
                (smallest, "3 x 3"),
            )
        ],
        "keyposs-equation-15": [
            Claim(
                "training through the decoder helps",
                "no figure",
                ("and equation 15", "NME"),
                ("mean squared error", "NME"),
            )
        ],
        "gv": [
            Claim("vectors beat heatmaps", "3.42 → 3.14", ("gv, biased", box), ("heatmap, biased", box)),
            Claim("the same with unbiased labels", "control", ("gv, unbiased", box), ("heatmap, unbiased", box)),
            Claim(
                "Beyond Box helps, boxes 10 % smaller",
                "4.57 → 4.10",
                ("gv, biased, Beyond Box", tight),
                ("gv, biased", tight),
            ),
            Claim(
                "points outside, boxes 30 % smaller",
                "control",
                ("gv, biased, Beyond Box", "shrunk 30 %, points outside"),
                ("gv, biased", "shrunk 30 %, points outside"),
            ),
            Claim(
                "bands without padding help Beyond Box",
                "control",
                ("gv, biased, Beyond Box", "shrunk 30 %"),
                ("gv, zeros counted, Beyond Box", "shrunk 30 %"),
            ),
        ],
        "gv-theta": [Claim("a raised peak helps", "3.32 → 3.14", ("theta 3", "NME"), ("theta 0", "NME"))],
        "gv-bandwidths": [
            Claim(f"widths 3 and 5 beat {other}", f"{paper} → 3.14", ("l = 3-5", "NME"), (f"l = {other}", "NME"))
            for other, paper in ((1, 3.94), (3, 3.31), (5, 3.21), (7, 3.38))
        ],
        "gv-beyond": [
            Claim("tau 2, sigma 2 beat 1 and 1", "4.42 → 4.10", ("tau 2.0", "sigma 2.0"), ("tau 1.0", "sigma 1.0"))
        ],
        "gcn": [
            Claim(
                f"{text}, {column}",
                paper if column == "clean" else "control",
                (better, column),
                (than, column),
            )
            for column in CLEAN_AND_OCCLUDED
            for text, paper, better, than in (
                ("the graph beats its heatmaps", "3.92 → 3.23", "learned connectivity", "heatmap model of the graph"),
                ("learned edges beat shared ones", "4.40 → 4.23 (WFLW)", "learned connectivity", "shared connectivity"),
                ("learned edges beat no edges", "control", "learned connectivity", "own features only"),
                ("own features beat a constant offset", "control", "own features only", "constant offset"),
                (
                    "the same end to end: learned edges beat none",
                    "control",
                    "learned connectivity, end to end",
                    "own features only, end to end",
                ),
            )
        ],
        "rht-modules": [
            Claim("the encoder helps", "3.32 → 3.21", ("+ encoder", "NME"), ("backbone", "NME")),
            Claim("the soft transformation helps", "3.21 → 3.01", ("+ soft", "NME"), ("+ encoder", "NME")),
            Claim("three scales help", "3.01 → 2.94", ("+ soft, multi-scale", "NME"), ("+ soft", "NME")),
            Claim("the hard transformation helps", "3.21 → 2.98", ("+ hard, multi-scale", "NME"), ("+ encoder", "NME")),
            Claim("both beat the soft one", "2.94 → 2.82", full, ("+ soft, multi-scale", "NME")),
            Claim("all of it beats the backbone", "3.32 → 2.82", full, ("backbone", "NME")),
            Claim("boundaries help", "2.89 → 2.82", full, ("rht without boundaries", "NME")),
        ],
        "rht-references": [
            Claim(f"the most similar face beats {other}", f"{paper} → 2.82", ("rht", "sift"), ("rht", other))
            for other, paper in (
                ("neutral", 2.88),
                ("random", 2.98),
                ("worst", 3.04),
                ("sift, half", 2.90),
                ("sift, quarter", 3.12),
            )
        ],
        "rht-backbones": [
            Claim(f"rht beats {backbone}", f"{baseline} → {rht}", (backbone, "rht"), (backbone, "baseline"))
            for backbone, (baseline, rht) in RHT_BACKBONES.items()
        ],
        CROSS_DATA: [
            Claim(
                "references of another set still beat the backbone",
                "3.43 → 2.87",
                ("rht, references of another set", "NME"),
                ("backbone", "NME"),
            ),
            Claim(
                "references of its own set are better",
                "2.87 → 2.82",
                ("rht", "NME"),
                ("rht, references of another set", "NME"),
            ),
        ],
    }
