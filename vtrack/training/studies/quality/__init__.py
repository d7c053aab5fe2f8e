"""How well `vtrack check` tells the error of points, measured on clips whose true points are known."""
