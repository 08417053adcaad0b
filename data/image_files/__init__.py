"""Pictures in files of any format → 8-bit arrays."""
