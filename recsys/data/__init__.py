"""Tables, ingest, windows, public data sets."""
