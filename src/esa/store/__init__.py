"""Floor 5: state on disk. Every file has exactly one writing process."""
