"""The benchmark: what is compared is measured side by side, in turns, in one run (`make bench`)."""
