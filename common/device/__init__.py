"""Devices: which chip a run uses and with whom it shares the work."""
