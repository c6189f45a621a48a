"""The optimiser that recovers triggers, for many labels at once. Detectors are thin on top of it."""
