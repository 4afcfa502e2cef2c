"""A BitLocker volume as dissect.fve reads it.

reader.py protectors IMAGE
    a line for each key protector: its kind and its identifier
reader.py regions IMAGE
    a line for each range that Windows presents as zeros: byte offset and length
reader.py read IMAGE OUT KIND KEY [OFFSET LENGTH]...
    writes those ranges of the decrypted volume, or all of it, to OUT, at their offsets
"""

import sys
from bisect import bisect_right

from dissect.fve.bde import bde
from dissect.fve.bde.c_bde import FVE_KEY_PROTECTOR

PIECE = 1 << 20


def run_states(stream, sector, count):
    """Which sectors are encrypted, for volumes with bitmaps of what Windows has converted.

    In place of dissect.fve's own, which counts chunks from the first sector that it is asked for, also where
    that sector is not the first of its chunk.
    """
    if not stream.is_eow:
        yield from original_run_states(stream, sector, count)
        return
    size, chunk_size = stream.sector_size, stream.bde.eow_information.chunk_size
    end = sector + count
    while sector < end:
        index = bisect_right(stream._eow_bitmap_lookup, sector) - 1
        bitmap = stream._eow_bitmaps[index]
        chunk = (sector * size - bitmap.region_offset) // chunk_size
        chunk_end = min(bitmap.region_offset + (chunk + 1) * chunk_size, bitmap.region_offset + bitmap.region_size)
        stop = min(end, chunk_end // size)
        encrypted = bitmap.active_record.bitmap[chunk // 8] >> chunk % 8 & 1
        yield (stream.RUN_ENCRYPTED if encrypted else stream.RUN_PLAIN, sector, stop - sector)
        sector = stop


original_run_states = bde.BitlockerStream._iter_run_state
bde.BitlockerStream._iter_run_state = run_states


def protectors(volume):
    kinds = {
        FVE_KEY_PROTECTOR.CLEAR: "clear",
        FVE_KEY_PROTECTOR.EXTERNAL: "external",
        FVE_KEY_PROTECTOR.RECOVERY_PASSWORD: "recovery",
        FVE_KEY_PROTECTOR.PASSPHRASE: "password",
    }
    for datum in volume.information.dataset.data:
        if hasattr(datum, "priority"):
            certificate = datum.asymmetric_encrypted_key() is not None
            print("certificate" if certificate else kinds.get(datum.priority, "other"), datum.identifier)


def read(volume, size, out, kind, key, ranges):
    if kind == "password":
        volume.unlock_with_passphrase(key)
    elif kind == "recovery":
        volume.unlock_with_recovery_password(key)
    elif kind == "bek":
        with open(key, "rb") as file:
            volume.unlock_with_bek(file)
    elif kind == "fvek":
        volume.unlock_with_fvek(bytes.fromhex(key))
    elif not volume.unlocked:
        volume.unlock_with_clear_key()
    stream = volume.open()
    with open(out, "wb") as file:
        for offset, length in ranges or [(0, size)]:
            while length > 0:
                piece = min(PIECE, length)
                stream.seek(offset)
                file.seek(offset)
                file.write(stream.read(piece))
                offset += piece
                length -= piece
        file.truncate(size)


def main():
    command, image, *rest = sys.argv[1:]
    with open(image, "rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        volume = bde.BDE(file)
        if command == "protectors":
            protectors(volume)
        elif command == "regions":
            for sector, count in volume.reserved_regions():
                print(sector * volume.sector_size, count * volume.sector_size)
        else:
            out, kind, key, *numbers = rest
            numbers = [int(number) for number in numbers]
            read(volume, size, out, kind, key, list(zip(numbers[::2], numbers[1::2])))


main()
