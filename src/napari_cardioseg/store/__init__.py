"""What lies on disk: model files."""
