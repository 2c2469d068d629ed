"""RecordExampleGen: an InsightFace `train.rec` to shuffled, sharded Examples."""
