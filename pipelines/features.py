"""`features`: the encoder is fitted on the recall window; every user and item is encoded."""

from pipelines.inputs import Log
from pipelines.stage import Metrics, StageContext
from recsys.config import Config
from recsys.data.split_config import RECALL
from recsys.data.tables import Dataset
from recsys.features.arrays import save_arrays
from recsys.features.catalogue import align
from recsys.features.encoder import FeatureEncoder

__all__ = ["run"]


def run(config: Config, context: StageContext) -> Metrics:
    """The stage's work; see `pipelines.stages`."""
    dataset = Dataset.load(context.inputs["ingest"])
    log = Log.load(context.inputs["split"])
    encoder = FeatureEncoder.fit(config.features, config.data, dataset, log.events.window == RECALL)
    folder = context.folder / "encoder"
    folder.mkdir()
    encoder.save(folder)
    save_arrays(context.folder / "user", encoder.encode("user", align(log.users, dataset.users, "user_id")))
    save_arrays(context.folder / "item", encoder.encode("item", align(log.items, dataset.items, "item_id")))
    fields = [field for side in ("user", "item", "context") for field in encoder.fields(side)]
    return {"fields": len(fields), "rows": sum(field.rows for field in fields)}
