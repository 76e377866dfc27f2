"""From what a person drops into the browser to batches: pictures, captions, buckets, order."""
