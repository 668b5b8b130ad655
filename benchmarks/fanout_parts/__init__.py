"""Servers, clients and figures of `benchmarks.fanout`.

`loadgen.c` is every client, `bare.c` the limit, `handshakes.c` and `hostile.py` are those who come
besides. The servers, `run_*`, print one JSON line with their port and process, and obey `go` lines
(`pace.py`). What peers run with imports the standard library alone: they have environments of their
own.
"""
