"""The machine underneath: files, signals, errors, limited processes."""
