"""The four docks: views over the core. napari and Qt are imported here and nowhere else."""
