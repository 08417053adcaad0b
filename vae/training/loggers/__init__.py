"""The pictures and numbers of a training that cost extra, for loggers of any kind."""
