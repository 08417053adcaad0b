"""A model's decoder, fitted to given pictures: pivotal tuning."""
