"""The schema that `websocket_client/ws_client.py` carries.

`python -m tests.websocket_client.embedded_schema` writes it there anew.
"""

from __future__ import annotations

import base64
import textwrap
import zlib
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from app.proto import candlewire_pb2 as pb
from websocket_client import ws_client

CLIENT = Path(ws_client.__file__)


def generated():
    """Return the schema that the hub's messages are made from, without where its file lies."""
    file = FileDescriptorProto.FromString(pb.DESCRIPTOR.serialized_pb)
    file.name = "candlewire.proto"
    return FileDescriptorSet(file=[file])


def embedded():
    """Return the schema that the client carries."""
    return FileDescriptorSet.FromString(zlib.decompress(base64.b64decode(ws_client._SCHEMA)))


if __name__ == "__main__":
    data = base64.b64encode(zlib.compress(generated().SerializeToString(), 9)).decode()
    text = "\n".join(textwrap.wrap(data, 92))
    before, begin, rest = CLIENT.read_text(encoding="utf-8").partition('_SCHEMA = """\\\n')
    _, end, after = rest.partition('"""')
    CLIENT.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")
