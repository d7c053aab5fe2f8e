"""Landmark networks, one module per system, with their losses; `registry` lists them by name.

A system of your own is a subclass of `base.LayoutSystem` (fixed points of one layout) or `base.System` (any points), and a
line in the registry.

Equations, tables and sections that docstrings cite are those of these papers:

- `udfld`: the UDFLD paper, "Towards unified dynamic face landmark detection"
- `gcn`: Nguyen et al., "Facial landmark detection with learnable connectivity graph convolutional network"
- `rht`: Wan et al., "Precise facial landmark detection by reference heatmap transformer"
- `keyposs`: Cheng et al., "KeyPosS: plug-and-play facial landmark detection through GPS-inspired true-range multilateration"
- `gv`: Xiong et al., "Gaussian vector: an efficient solution for facial landmark detection"
"""
