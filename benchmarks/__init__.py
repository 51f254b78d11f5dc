"""What `make bench` runs: ratios measured side by side in one run, because these figures mean nothing by themselves."""
