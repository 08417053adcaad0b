"""The film of a training, made of the morphs of its validations."""
