"""The programs that `benchmarks.delay` runs in processes of their own."""
