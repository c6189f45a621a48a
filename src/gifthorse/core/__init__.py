"""The nouns of gifthorse. No algorithm lives here, and nothing of ours but ``errors`` is imported."""
