"""The landmark networks, one module for each system, and what they are trained to minimise."""
