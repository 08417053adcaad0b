"""Pictures: their sources (procedural families, folders, published data sets), cache, split and batches."""
