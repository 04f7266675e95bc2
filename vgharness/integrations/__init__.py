"""Where people train already: Lightning, transformers, and the trackers that take what is watched."""
