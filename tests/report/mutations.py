"""Seeded damage to a folder of run folders: bits, lengths, names, foreign files, files of another run."""

import json
import random
import shutil

FILES = ("config.json", "sequences.csv", "tally.npz", "complete.json", "0000.journal", "leads.csv", "table.md")


def mutate(folder, other, seed):
    """Damage the run folder ``folder`` in one way that ``seed`` chooses; ``other`` is a sound run of the same data.

    Returns:
        What was done, for messages.
    """
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    path = folder / rng.choice(FILES)
    kind(path, other / path.name, rng)
    return f"seed {seed}: {kind.__name__} {path.name}"


def flip_bits(path, _, rng):
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 5, 100))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def truncate(path, _, rng):
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def remove(path, _, rng):
    path.unlink()


def empty(path, _, rng):
    path.write_bytes(b"")


def append(path, _, rng):
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 5000)))


def repeat(path, _, rng):
    path.write_bytes(path.read_bytes() * 2)


def shuffle(path, _, rng):
    data = path.read_bytes()
    parts = sorted(rng.sample(range(len(data)), 2))
    path.write_bytes(data[parts[0] : parts[1]] + data[: parts[0]] + data[parts[1] :])


def take_from_other_run(path, other, rng):
    shutil.copy(other, path)


def make_folder(path, _, rng):
    path.unlink()
    path.mkdir()


def replace_by_noise(path, _, rng):
    path.write_bytes(rng.randbytes(rng.randrange(1, 3000)))


def replace_by_json(path, _, rng):
    path.write_text(
        rng.choice(["{}", "[]", "null", "1e999", '{"identity": 3}', "[" * 100_000, '{"run": {}}', "\ufeff{}"])
    )


def change_value(path, _, rng):
    """Change one value of a JSON file, or one cell of a CSV file."""
    if path.suffix == ".json":
        found = json.loads(path.read_text())
        place = found
        while isinstance(place, dict) and place:
            name = rng.choice(sorted(place))
            if not isinstance(place[name], dict) or not place[name]:
                place[name] = rng.choice([None, -1, 0, 10**30, "", "x", [], {}, True, 1.5, "../../etc"])
                break
            place = place[name]
        path.write_text(json.dumps(found))
    elif path.suffix == ".csv":
        lines = path.read_text().splitlines()
        number = rng.randrange(len(lines))
        cells = lines[number].split(",")
        cells[rng.randrange(len(cells))] = rng.choice(["", "0", "-1", "NaT", "2015-13-01", "9" * 30, "1e5", '"'])
        lines[number] = ",".join(cells)
        path.write_text("\n".join(lines) + "\n")
    else:
        flip_bits(path, None, rng)


def rename_folder(path, _, rng):
    folder = path.parent
    folder.rename(folder.with_name(rng.choice(["run", folder.name[:-1], f"{folder.name}0", "a\nb"])))


def add_journal(path, other, rng):
    target = path.parent / rng.choice(["0001.journal", "0002.journal", "x.journal"])
    target.write_bytes(rng.choice([other.read_bytes(), rng.randbytes(5000), b""]))


KINDS = (
    flip_bits, flip_bits, truncate, remove, empty, append, repeat, shuffle, take_from_other_run, make_folder,
    replace_by_noise, replace_by_json, change_value, change_value, rename_folder, add_journal,
)  # fmt: skip
