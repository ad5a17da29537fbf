"""Training and fine-tuning with full deep supervision."""
