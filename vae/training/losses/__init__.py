"""The loss: its terms, and which of them make the objective."""
