"""Parquet files, as Hugging Face's data sets come: pictures and captions in the rows of one file, or a table of captions."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.core.errors import DataError
from limner.core.json_text import parse_json
from limner.data.columns import COLUMNS, captions_of_field, columns_of, read_labels
from limner.data.sources import SPLIT_NAMES, PictureFile, Reading, Sample, Unreadable, left_alone

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_LARGEST_GROUP = 2 << 30
_PICTURE_NAMES = ("image", "img", "picture", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp")
"""Columns of plain bytes that are pictures."""


def _opened(path: Path) -> ParquetFile:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise DataError(f"{path} is a parquet file, and pyarrow is not installed: pip install 'limner[parquet]'") from None
    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise DataError(f"{path} is not a whole parquet file ({reason}): download or write it again") from None


def table_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a table, without columns of bytes."""
    file = _opened(path)
    for group in range(file.num_row_groups):
        yield from _rows(path, file, group, _written(file))


def _rows(path: Path, file: ParquetFile, group: int, columns: list[str]) -> list[dict[str, Any]]:
    try:
        return file.read_row_group(group, columns=columns).to_pylist()
    except Exception as error:  # pyarrow raises all kinds of errors on broken bytes
        reason = " ".join(str(error).split())[:100]
        raise DataError(f"{path} is damaged in its group {group} of rows ({reason}): download or write it again") from None


def written_columns(path: Path) -> list[str]:
    """The columns of a parquet file that hold text, numbers, or lists of these."""
    return _written(_opened(path))


def _written(file: ParquetFile) -> list[str]:
    return [column.name for column in file.schema_arrow if _is_written(column.type)]


def _is_written(kind: Any, listed: bool = False) -> bool:
    """Whether values of a type are text, numbers, or lists of these. listed: within a list, where things with fields may be (a layout)."""
    from pyarrow import types

    if types.is_dictionary(kind):  # a category of pandas
        return _is_written(kind.value_type)
    if _is_list(kind):
        return _is_written(kind.value_type, listed=True)
    if listed and types.is_struct(kind):
        return all(_is_written(part.type, listed=True) for part in kind)
    return _is_string(kind) or types.is_integer(kind) or types.is_floating(kind) or types.is_null(kind)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _is_string(kind: Any) -> bool:
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _picture_column(file: ParquetFile, reading: Reading) -> tuple[str, bool] | None:
    """The column of the pictures' bytes, and whether these are a part of it, as Hugging Face's `datasets` writes them."""
    from pyarrow import types

    found = []
    for column in file.schema_arrow:
        parts = {part.name: part.type for part in column.type} if types.is_struct(column.type) else {}
        whole = types.is_binary(column.type) or types.is_large_binary(column.type)
        if "bytes" in parts and (types.is_binary(parts["bytes"]) or types.is_large_binary(parts["bytes"])):
            found.append((column.name, True))
        elif whole and (column.name.lower() in _PICTURE_NAMES or (reading.columns and column.name == reading.columns[0])):
            found.append((column.name, False))
    if reading.columns:
        found = [entry for entry in found if entry[0] == reading.columns[0]] or found
    return found[0] if found else None


def unread_parquet(path: Path, reading: Reading) -> str | None:
    """Why a parquet file of a folder is left alone, as what it is; None for one that holds pictures, and is read."""
    try:
        file = _opened(path)
    except DataError as error:
        return f"file that is left out, since {error}"
    if _picture_column(file, reading) is not None:
        return None
    names = ", ".join(column.name for column in file.schema_arrow)[:100]
    if any(name.lower() in ("url", "image_url") for name in _written(file)):
        return f"table of addresses, not of pictures ({names}): fetch them first, for example with img2dataset"
    return f"parquet file without a column of pictures ({names}): as a table of captions, call it metadata.parquet or pass --columns"


def read_parquet(path: Path, name: str, source: str, reading: Reading, split: str | None = None) -> Iterator[Sample]:
    """Every row of a parquet file that holds pictures as a sample, called NAME/ROW.

    name: the file's own in its source, without the suffix. split: of its folder; else the file's name may begin with one. Raises DataError
    for a file without pictures or captions.
    """
    file = _opened(path)
    pictured = _picture_column(file, reading)
    if pictured is None:
        raise DataError(f"{path} is a {unread_parquet(path, reading)}")
    column, nested = pictured
    own = tuple(other for other in _written(file) if other != column)
    columns = columns_of(own, (column, reading.columns[1]) if reading.columns else None)
    if reading.columns and not columns.has("text"):
        raise DataError(f"{path} has no column '{reading.columns[1]}', but {', '.join(own)[:120]}: give --columns {column},NAME")
    if columns.problem:
        raise DataError(f"{path} {columns.problem}")
    kept = [each for role in COLUMNS if role != "file_name" for each in columns.names.get(role, ())]
    classes = _class_names(file)
    labelled = next((each for each in own if each in classes and each not in kept), None)
    unread = dict.fromkeys(each.name for each in file.schema_arrow if each.name not in (column, labelled, *kept))
    if not columns.has("text") and (texts := [each for each in columns.unread if _is_text(file, each)]):
        reason = f"parquet file whose captions have an unknown name: say which with --columns {column},{texts[0]}"
        yield left_alone(name, source, reason)
    split = split or SPLIT_NAMES.get(re.split(r"[\W_\d]", name.rpartition("/")[2].lower(), maxsplit=1)[0])
    groups = _Groups(file, f"{column}.bytes" if nested else column)
    row = 0
    for group in range(file.num_row_groups):
        wanted = [*kept, *([labelled] if labelled else [])]
        count = file.metadata.row_group(group).num_rows
        values = _rows(path, file, group, wanted) if wanted else [{}] * count
        for place, fields in enumerate(values):
            captions, problem = captions_of_field(columns.value(fields, "text"))
            number = fields.pop(labelled, None) if labelled else None
            labels = read_labels(fields, columns, split)
            unread.update(dict.fromkeys(columns.surplus(fields)))
            if labelled and number is not None and 0 <= number < len(classes[labelled]):
                labels = replace(labels, class_id=number, class_name=classes[labelled][number])
            problem = problem if columns.value(fields, "text") not in (None, "", []) else None
            yield Sample(
                key=f"{name}/{row:06}",
                source=source,
                picture=RowPicture(path, 0, groups=groups, group=group, row=place),
                captions=() if problem or labels.problem else captions,
                labels=labels,
                problem=problem or labels.problem,
                file=f"{name}/{row:06}",
                where=f"{path.name}, row {row}",
            )
            row += 1
    if unread:
        yield left_alone(name, source, f"parquet file with columns that are not read: {', '.join(unread)[:200]}")


def _is_text(file: ParquetFile, column: str) -> bool:
    kind = file.schema_arrow.field(column).type
    return _is_string(kind.value_type if _is_list(kind) else kind)


def _class_names(file: ParquetFile) -> dict[str, list[str]]:
    """The names of the classes in columns of numbers, as Hugging Face's `datasets` notes them in the file."""
    try:
        features = parse_json((file.schema_arrow.metadata or {})[b"huggingface"])["info"]["features"]
        return {name: list(map(str, about["names"])) for name, about in features.items() if about.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(eq=False)
class _Groups:
    """The pictures of a parquet file, of which two groups of rows at most are in memory."""

    file: ParquetFile
    column: str
    held: dict[int, Any] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def content(self, group: int, row: int) -> bytes | None:
        with self.lock:
            if group not in self.held:
                if self.file.metadata.row_group(group).total_byte_size > _LARGEST_GROUP:
                    raise Unreadable("picture in a group of rows over 2 GiB (write the parquet file with smaller groups)")
                while len(self.held) > 1:
                    self.held.pop(min(self.held))
            try:
                if group not in self.held:
                    self.held[group] = self.file.read_row_group(group, columns=[self.column]).column(0)
                value = self.held[group][row].as_py()
            except Exception as error:  # pyarrow raises all kinds of errors on broken bytes
                raise Unreadable("damaged group of rows in a parquet file") from error
        return value["bytes"] if isinstance(value, dict) else value


@dataclass(frozen=True, eq=False, kw_only=True)
class RowPicture(PictureFile):
    """The picture of a row."""

    groups: _Groups
    group: int
    row: int

    @property
    def start(self) -> tuple[int, ...]:
        return self.group, self.row

    def read(self) -> bytes:
        content = self.groups.content(self.group, self.row)
        if content is None:
            raise Unreadable("row without a picture")
        return content
