"""Export, parity gate, golden requests, promotion."""
