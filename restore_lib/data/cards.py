"""The card of a data set as Markdown, for the book and for ``restore data card``."""

from restore_lib.data import registry
from restore_lib.data.registry import DataSet


def card(name: str) -> str:
    """What a data set is for, where it comes from, what its licence allows and how to get it, as Markdown.

    Parameters
    ----------
    name : str
        A name that :func:`names` lists.

    Raises
    ------
    DataError
        There is no such set.
    """
    data = registry.find(name)
    rows = [("kind", data.kind), ("contents", data.contents + _amount(data))]
    rows += [("licence", data.licence), ("terms", data.terms), ("source", _source(data))]
    rows += [("cite", f"{data.citation} (`{data.cite}`)"), ("to get it", _how(data))]
    lines = [f"## {data.title}", "", data.purpose, "", f"| name | `{data.name}` |", "|---|---|"]
    lines += [f"| {title} | {text} |" for title, text in rows]
    lines += ["", *(f"- {note}" for note in data.notes)]
    if data.layout:
        lines += ["", "| folder | files | how many | needed |", "|---|---|---|---|", *map(_layout_row, data.layout)]
    if data.pictures:
        lines += ["", "| photograph | split | by |", "|---|---|---|"]
        lines += [f"| `{p['file'].rsplit('/')[-1]}` | {p['split']} | {p['credit']} |" for p in data.pictures]
    return "\n".join(lines) + "\n"


def readable_size(count: int) -> str:
    """Bytes as people write them: ``37.0 MB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _amount(data: DataSet) -> str:
    if data.kind not in ("set", "view"):
        return ""
    return f"; {len(data.files):,} files, {readable_size(data.size)}"


def _source(data: DataSet) -> str:
    if data.of:
        return f"part of `{data.of}`: {_source(registry.find(data.of))}"
    if data.address:
        return f"<{data.address}>"
    if data.repository:
        address = f"https://github.com/{data.repository}/tree/{data.commit}"
        return f"[{data.repository}]({address}) at commit `{data.commit[:7]}`"
    return {"embedded": "the packages scikit-image and scikit-learn", "weights": "download.pytorch.org"}.get(
        data.kind, "see the notes"
    )


def _how(data: DataSet) -> str:
    if data.kind == "embedded":
        return "it is there already"
    if data.kind == "by hand":
        return f"download it from the address above, then `restore data verify {data.name} --folder FOLDER`"
    if data.kind != "weights" and not any(file.url for file in data.files):
        return "copies only: put them below the folder that `RESTORE_DATA` names"
    return f"`restore data fetch {data.name}`"


def _layout_row(entry) -> str:
    """One line of the table that says what a folder kept by hand must hold."""
    pattern, amount = entry["files"], "any number"
    if "first" in entry:
        first, last = (pattern.format(entry[end]) for end in ("first", "last"))
        pattern, amount = f"{first} to {last}", f"{entry['last'] - entry['first'] + 1:,}"
    if "count" in entry:
        amount = f"{entry['count']:,}"
    if "lines" in entry:
        amount = f"{entry['lines']:,} lines"
    if "same_names_as" in entry:
        amount = f"the names of `{entry['same_names_as']}`"
    return f"| `{entry['folder']}` | `{pattern}` | {amount} | {'optional' if entry.get('optional') else 'yes'} |"
