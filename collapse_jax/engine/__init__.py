"""Compiling, placing and running chains: grids, devices, checkpoints, records."""
