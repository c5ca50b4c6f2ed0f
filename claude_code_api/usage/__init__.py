"""Usage: what every request took, written down before its answer ends. It knows no HTTP and no content."""
