#!/usr/bin/env python3
"""Zeroes the GPU code of a CUDA shared library for all architectures but one, so that it compresses for carrying.

    keep-architecture.py IN.so OUT.so 90

The fat binaries of a library lie in its section .nv_fatbin: containers (magic 0xba55ed50, 16-byte header: magic,
version, header size, payload size) of images, each with a 64-byte header or longer: kind (u16), version (u16), header
size (u32), payload size (u64), ..., architecture (u32 at byte 28). Sizes and offsets stay; only payloads become zero.
For one's own machine of that architecture only.
"""
import struct
import sys


def fatbin_section(elf):
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    entry_size, count, names_index = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", elf, table + i * entry_size) for i in range(count)]
    names = sections[names_index][4]
    for name, _kind, _flags, _address, offset, size in sections:
        start = names + name
        if elf[start : start + 11] == b".nv_fatbin\0":
            return offset, size
    sys.exit("no .nv_fatbin section")


def main():
    source, target, architecture = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(source, "rb") as file:
        data = bytearray(file.read())
    at, size = fatbin_section(data)
    end = at + size
    kept = blanked = 0
    while at + 16 <= end:
        magic, _version, header, payload = struct.unpack_from("<IHHQ", data, at)
        if magic != 0xBA55ED50:
            at += 8
            continue
        image, stop = at + header, at + header + payload
        while image < stop:
            image_header, image_size = struct.unpack_from("<IQ", data, image + 4)
            (image_architecture,) = struct.unpack_from("<I", data, image + 28)
            if image_architecture == architecture:
                kept += image_size
            else:
                blanked += image_size
                start = image + image_header
                data[start : start + image_size] = bytes(image_size)
            image += image_header + image_size
        at = stop
    with open(target, "wb") as file:
        file.write(data)
    print(f"{target}: kept {kept >> 20} MiB of sm_{architecture}, blanked {blanked >> 20} MiB")


if __name__ == "__main__":
    main()
