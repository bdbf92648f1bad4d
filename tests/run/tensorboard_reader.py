"""Reads a TensorBoard event file with nothing but the standard library and the format's description.

Usage: tensorboard_reader.py FILE...   Checks both checksums of every record; prints "step tag value" lines.
"""
import struct
import sys

POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected


def masked_crc(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def fields(message):
    """(number, value) pairs of a protobuf message."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            value = varint()
        else:
            size = varint() if kind == 2 else {1: 8, 5: 4}[kind]
            value = message[at:at + size]
            if len(value) != size:
                raise ValueError("a field is cut off")
            at += size
        yield tag >> 3, value


def records(data):
    at = 0
    while at < len(data):
        header = data[at:at + 8]
        (size,) = struct.unpack("<Q", header)
        payload = data[at + 12:at + 12 + size]
        for part, where in ((header, at + 8), (payload, at + 12 + size)):
            (stored,) = struct.unpack("<I", data[where:where + 4])
            if stored != masked_crc(part):
                raise ValueError(f"checksum at byte {where}")
        yield payload
        at += 16 + size


def main():
    for path in sys.argv[1:]:
        with open(path, "rb") as file:
            events = [dict(fields(record)) for record in records(file.read())]
        if events[0].get(3) != b"brain.Event:2":
            raise ValueError("the first event names no version")
        for event in events[1:]:
            for number, value in fields(event.get(5, b"")):
                scalar = dict(fields(value))
                print(event.get(2, 0), scalar[1].decode(), repr(struct.unpack("<f", scalar[2])[0]))


main()
