"""From shards to batches: decoding, turning, shuffling, holding out."""
