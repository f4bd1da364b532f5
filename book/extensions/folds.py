"""Sphinx extension: folded cells that follow one another, and show nothing themselves, unfold as one.

Cells are kept short, so a chapter may need several before its first picture. A reader who has not asked for their code
should not scroll past a bar for each.
"""

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform


class FoldTogether(SphinxPostTransform):
    """Move the code of a folded cell without outputs into the folded cell that follows it."""

    default_priority = 198  # just before MyST-NB puts bars around what is folded
    formats = ("html",)

    def run(self, **kwargs):
        for cell in list(self.document.findall(is_folded)):
            following = cell.next_node(descend=False, siblings=True)
            if len(cell.children) == 1 and following is not None and is_folded(following):
                following[0].insert(0, cell[0].children)
                cell.parent.remove(cell)


def is_folded(node) -> bool:
    """Whether a node is a cell whose code is shown on demand."""
    folded = isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"
    folded = folded and node.get("hide_mode") == "input" and bool(node.children)
    return folded and node[0].get("nb_element") == "cell_code_source"


def setup(app):
    """Register with Sphinx."""
    app.add_post_transform(FoldTogether)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
