"""Images on disk to batches of patches: who has which files, bicubic LR, cache, store, pipeline."""
