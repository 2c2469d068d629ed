"""The files that InsightFace publishes and TFX reads: RecordIO, `.bin`, tables of attributes, TFRecord. No TFX."""
