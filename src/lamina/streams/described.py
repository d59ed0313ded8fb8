"""What is said of a stream, out of its row: the same for one in a directory and one on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lamina.catalog.rows import StreamRow


class Described:
    """Each property asks for the whole row, as it is now; `row` gives all at once. Raises StreamNotFound."""

    __slots__ = ()

    def row(self) -> StreamRow:
        raise NotImplementedError

    @property
    def collection(self) -> str:
        """Its collection now. This and the properties below ask for all metadata each: `row` gives all at once."""
        return self.row().collection

    @property
    def tags(self) -> dict[str, str]:
        """Its tags, name and unit among them; a copy."""
        return self.row().tags

    @property
    def name(self) -> str:
        """The tag `name`; "" if unset."""
        return self.row().tags.get("name", "")

    @property
    def unit(self) -> str:
        """The tag `unit`; "" if unset."""
        return self.row().tags.get("unit", "")

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations; a copy."""
        return self.row().annotations

    @property
    def property_version(self) -> int:
        """1 when created, one more per successful set_tags or set_annotations."""
        return self.row().property_version
