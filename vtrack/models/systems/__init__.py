"""Landmark networks, one module per system, with their losses; `registry` lists them by name.

A system of your own is a subclass of `base.LayoutSystem` (fixed points of one layout) or `base.System` (any points), and a
line in the registry.
"""
