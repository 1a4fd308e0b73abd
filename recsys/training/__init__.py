"""The one LightningModule, the batch loader and the optimisers."""
