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
    facts = {"Name": f"`{data.name}` ({data.kind})", "Contents": data.contents + _amount(data)}
    facts |= {"Licence": data.licence, "Terms": data.terms, "Source": _source(data)}
    facts |= {"Cite": f"{data.citation} (`{data.cite}`)", "To get it": _how(data)}
    lines = [f"## {data.title}", "", data.purpose, ""]
    lines += [f"- **{title}**: {text}" for title, text in facts.items()]  # lists: not every renderer knows tables
    if data.notes:
        lines += ["", "To know:", "", *(f"- {note}" for note in data.notes)]
    if data.layout:
        lines += ["", "What the folder must hold:", "", *map(_layout_line, data.layout)]
    if data.pictures:
        lines += ["", "Photographs by split, and who made them:", ""]
        lines += [f"- {p['split']}: `{p['file'].rsplit('/')[-1]}`, {p['credit']}" for p in data.pictures]
    return "\n".join(lines) + "\n"


def readable_size(count: float) -> str:
    """Bytes as people write them: ``37.0 MB``."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
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


def _layout_line(entry) -> str:
    """One folder that a set by hand must hold."""
    pattern, amount = f"`{entry['files']}`", "any number"
    if "first" in entry:
        pattern = " to ".join(f"`{entry['files'].format(entry[end])}`" for end in ("first", "last"))
        amount = f"{entry['last'] - entry['first'] + 1:,} files"
    if "count" in entry:
        amount = f"{entry['count']:,} files"
    if "lines" in entry:
        amount = f"{entry['lines']:,} lines"
    if "same_names_as" in entry:
        amount = f"the names of `{entry['same_names_as']}`"
    return f"- `{entry['folder']}`: {pattern}, {amount}{' (optional)' if entry.get('optional') else ''}"
