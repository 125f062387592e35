"""Tables of captions: CSV by comma, semicolon or tab, JSON lines, parquet, and JSON that is a list or goes by file name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from limner.core.errors import DataError
from limner.core.json_text import once, parse_json
from limner.data.columns import COLUMNS, LABELS, Columns, columns_of
from limner.data.formats import PICTURE_SUFFIXES, suffix_of
from limner.data.parquet import table_rows, written_columns
from limner.data.sources import system_reason

_LINES = (".jsonl", ".ndjson")
_DELIMITERS = ",;\t|"
HEADER = "file_name,text[,class,split]"
FORM = '{"file_name": "a.jpg", "text": "a caption"}'


@dataclass(frozen=True)
class Row:
    """One row of a table: its fields, what they are, and its place, such as "metadata.csv, line 3"."""

    fields: Mapping[str, Any]
    columns: Columns
    where: str

    def value(self, column: str) -> Any:
        """The row's value of a column of `limner.data.columns.COLUMNS`."""
        return self.columns.value(self.fields, column)

    @property
    def file_name(self) -> str:
        """The picture's name as the row gives it."""
        return str(self.value("file_name")).strip()


Chosen = tuple[str, str] | None
"""What the user says that tables call a picture's file and its captions."""


def read_table(path: Path, chosen: Chosen = None) -> Iterator[Row]:
    """The rows of a table of captions. Raises DataError with file and line for what cannot be read, or would be read in part only."""
    try:
        if suffix_of(path) in _LINES:
            yield from _json_lines(path, chosen)
        elif suffix_of(path) == ".json":
            yield from _json_entries(path, chosen)
        elif suffix_of(path) == ".parquet":
            for number, fields in enumerate(table_rows(path), 1):
                yield _row(path, f"row {number}", fields, chosen)
        else:
            yield from _cells(path, chosen)
    except OSError as error:
        raise DataError(f"{path} {system_reason(error)}: make it readable, or take it out of the folder") from None


def is_table(path: Path, chosen: Chosen = None) -> bool:
    """Whether a file begins as a table of pictures and captions does."""
    try:
        if suffix_of(path) in (*_LINES, ".json"):
            first = next(_json_lines(path, chosen) if suffix_of(path) in _LINES else _json_entries(path, chosen), None)
            columns = first.columns if first else columns_of(())
            sure = suffix_of(path) in _LINES or chosen is not None
            return columns.has("text") and (sure or suffix_of(first.file_name if first else "") in PICTURE_SUFFIXES)
        if suffix_of(path) == ".parquet":
            columns = columns_of(tuple(written_columns(path)), chosen)
        else:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                columns = columns_of(tuple(_header(_first_line(stream, 1 << 16), chosen)[1]), chosen)
    except (OSError, UnicodeDecodeError, csv.Error, DataError):
        return False
    return columns.has("file_name") and columns.has("text")


def header_of(path: Path) -> list[str]:
    """The cells of a table's first line; none for what is not text."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            return _header(_first_line(stream, 1 << 16))[1]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _json_lines(path: Path, chosen: Chosen) -> Iterator[Row]:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                try:
                    fields = parse_object(line)
                except ValueError as error:
                    raise DataError(f"{path}, line {number} is not JSON in UTF-8 ({error}): correct or remove the line") from None
                yield _row(path, f"line {number}", fields, chosen)


def _json_entries(path: Path, chosen: Chosen) -> Iterator[Row]:
    try:
        content = parse_json(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=once)
    except ValueError as error:
        raise DataError(f"{path} is not JSON in UTF-8 ({error}): correct it, or write metadata.jsonl, one line {FORM} a picture") from None
    if isinstance(content, dict):
        if other_layout(path):
            raise DataError(f"{path} is {other_layout(path)}")
        # {"a.jpg": "a caption"}, {"a.jpg": ["one", "two"]} or {"a.jpg": {"caption": "a caption"}}
        entries: Iterable[Any] = (
            {"file_name": name, **value} if isinstance(value, dict) else {"file_name": name, "text": value}
            for name, value in content.items()
        )
    else:
        entries = content if isinstance(content, list) else [content]
    for number, fields in enumerate(entries, 1):
        yield _row(path, f"entry {number}", fields, chosen)


def other_layout(path: Path) -> str | None:
    """What a JSON file is, and the way to a form that is read, if it holds the captions of a well-known data set."""
    try:
        with path.open("rb") as stream:
            start = stream.read(1 << 16)
    except OSError:
        return None
    if b'"images"' not in start and b'"annotations"' not in start:
        return None
    if b'"sentences"' in start:
        return "a list of sentences in Karpathy's form, which is read where no metadata table lies in the source: call it dataset_NAME.json"
    return "a list in COCO's form, of which captions are read where no metadata table lies in the source: call it captions_NAME.json"


def parse_object(line: bytes) -> Any:
    """JSON in UTF-8; ValueError for what is not, and for an object that names a field twice."""
    return parse_json(line.decode("utf-8-sig"), object_pairs_hook=once)


def _row(path: Path, place: str, fields: Any, chosen: Chosen) -> Row:
    if not isinstance(fields, dict):
        raise DataError(f"{path}, {place} is not a JSON object: write {FORM}")
    columns = columns_of(tuple(fields), chosen)
    if columns.problem:
        raise DataError(f"{path}, {place} {columns.problem}")
    row = Row(fields, columns, f"{path.name}, {place}")
    named = isinstance(row.value("file_name"), (str, int)) if chosen else isinstance(row.value("file_name"), str)  # ids are often numbers
    if not named or not row.file_name:
        fix = f"name the picture under '{chosen[0]}'" if chosen else f"write {FORM}"
        raise DataError(f"{path}, {place} has no {chosen[0] if chosen else 'file_name'}: {fix}")
    return row


def _header(line: str, chosen: Chosen = None) -> tuple[str, list[str]]:
    """The delimiter that parts a table's first line into most columns that are known, and the columns."""
    best = max(_DELIMITERS, key=lambda delimiter: len(columns_of(tuple(_split(line, delimiter)), chosen).names))
    return best, _split(line, best)


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]


def _cells(path: Path, chosen: Chosen) -> Iterator[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            delimiter, header = _header(_first_line(stream), chosen)
            stream.seek(0)
            columns = columns_of(tuple(header), chosen) if chosen else _checked_header(path, delimiter, header)
            spaced = f"{delimiter} " in _first_line(stream)  # whoever writes `file_name, text` writes `a.jpg, "a caption"`
            stream.seek(0)
            yield from _table_rows(path, _Reader(stream, delimiter, spaced), delimiter, columns)
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: save it again as UTF-8") from None


def _first_line(stream: TextIO, most: int = -1) -> str:
    """The line of the header, up to `most` characters of it: empty lines above it are passed over, and Excel's `sep=;`."""
    while line := stream.readline(most):
        if line.strip("\ufeff\r\n") and not _names_delimiter([line]):
            return line
    return ""


def _names_delimiter(cells: list[str]) -> bool:
    """Whether a line is Excel's `sep=;`, which says by what the table is parted."""
    first = cells[0].strip('\ufeff\r\n"').lower()
    return first.startswith("sep=") and len(first) <= 5 and not any(cells[1:])


def _checked_header(path: Path, delimiter: str, header: list[str]) -> Columns:
    columns = columns_of(tuple(header))
    if len(columns.names) == 0 and len(header) < 2:
        raise DataError(f"{path}, line 1 is '{' '.join(header)[:60]}', which has no column 'file_name': begin it with {HEADER}")
    if columns.problem:
        raise DataError(f"{path}, line 1 {columns.problem}")
    for wanted in ("file_name", "text"):
        if not columns.has(wanted) and not (wanted == "text" and any(map(columns.has, LABELS))):
            names = ", ".join(COLUMNS[wanted][:4])
            raise DataError(f"{path} has no column '{wanted}' (or {names} ...), but {', '.join(header)[:120]}: begin it with {HEADER}")
    return columns


class _Reader:
    """csv.reader that knows whether a row has been quoted."""

    def __init__(self, stream: TextIO, delimiter: str, spaced: bool) -> None:
        self._stream, self.quoted = stream, False
        self._rows = csv.reader(self._lines(), delimiter=delimiter, strict=True, skipinitialspace=spaced)

    def _lines(self) -> Iterator[str]:
        for line in self._stream:
            self.quoted = self.quoted or '"' in line
            yield line

    def __next__(self) -> list[str]:
        self.quoted = False
        return next(self._rows)

    @property
    def line_num(self) -> int:
        """Lines read so far."""
        return self._rows.line_num


def _table_rows(path: Path, reader: _Reader, delimiter: str, columns: Columns) -> Iterator[Row]:
    header: list[str] | None = None
    line = 1
    while True:
        start = line
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "field larger" in str(error):
                # Often the end of a quote is missing, so that the rest of the file is one cell.
                fix = "shorten it, or close the quote that it begins with"
                raise DataError(f"{path}, line {start} has a cell of over {csv.field_size_limit():,} characters: {fix}") from None
            raise DataError(
                f"{path}, line {start} cannot be parted into cells ({error}; a cell that begins with a quote must end with one): "
                'quote cells as "...", and write a quote within as ""'
            ) from None
        line = reader.line_num + 1
        if not any(cell.strip("\ufeff \t") for cell in cells):
            continue
        if header is None and _names_delimiter(cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            header[0] = header[0].removeprefix("\ufeff")
            continue
        if _swallows(cells, header, delimiter, columns):
            raise DataError(
                f"{path}, line {start}: a quote swallows the rows down to line {reader.line_num}: "
                'close it, or write a quote within a cell as ""'
            )
        if len(cells) < len(header) or any(cell.strip() for cell in cells[len(header) :]):
            fix = f"quote texts that hold '{delimiter}'" if len(cells) > len(header) else "write the missing ones, if only as empty cells"
            fix = fix.replace("\t", "\\t")
            cell = "cell" if len(cells) == 1 else "cells"
            raise DataError(f"{path}, line {start} has {len(cells)} {cell} where the header has {len(header)}: {fix}")
        row = Row(dict(zip(header, cells)), columns, f"{path.name}, line {start}")
        if not reader.quoted and (torn := _torn(row, header)):
            fix = f"quote texts that hold '{delimiter}', or take out the blank"
            raise DataError(f"{path}, line {start}: '{torn[:40]}' looks like the rest of a text, since it begins with a blank: {fix}")
        if not row.file_name or row.value("file_name") is None:
            raise DataError(f"{path}, line {start} has no file_name: name the picture, or remove the line")
        yield row


def _swallows(cells: list[str], header: list[str], delimiter: str, columns: Columns) -> bool:
    """Whether a cell of several lines holds rows, since the end of a quote is missing: lines of as many cells, of which one is the name of
    a picture as the row's own is. A text of several lines may hold the delimiter too."""
    lines = [line for cell in cells for line in cell.splitlines()[1:] if delimiter in line]
    if not lines:
        return False
    place = header.index(columns.names["file_name"][0]) if columns.has("file_name") else 0
    pictured = suffix_of(cells[place].strip()) in PICTURE_SUFFIXES if place < len(cells) else False
    for line in lines:
        parts = line.split(delimiter)
        name = parts[place].strip() if place < len(parts) else ""
        if len(parts) >= len(header) and (suffix_of(name) in PICTURE_SUFFIXES if pictured else not any(map(str.isspace, name))):
            return True
    return False


def _torn(row: Row, header: list[str]) -> str | None:
    """A cell of labels that a comma and a blank part from the caption before it, as they part a sentence."""
    text = next(iter(row.columns.names.get("text", ())), None)
    if text is None or row.fields[text].startswith(" "):
        return None
    labels = {name for label in LABELS for name in row.columns.names.get(label, ())}
    follows = header[header.index(text) + 1 :][:1]
    return next((row.fields[name].strip() for name in follows if name in labels and row.fields[name].startswith(" ")), None)
