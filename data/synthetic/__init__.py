"""Pictures that are computed: families of patterns and of lines."""
