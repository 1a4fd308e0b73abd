"""The bundle format: manifest, hashes, versions; knows no model."""
