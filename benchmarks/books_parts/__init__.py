"""The parts of `make bench SUITE=books`: what is kept, by whom, and how it is timed."""
