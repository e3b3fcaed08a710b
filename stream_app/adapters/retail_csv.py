"""The UCI Online Retail table (invoice lines) as orders: one event an invoice, cancellations under their own invoice.

References
----------
Chen, D. (2015), Online Retail, UCI Machine Learning Repository, doi:10.24432/C5BW33 (CC BY 4.0): the columns; an
invoice number that begins with C is a cancellation, with negative quantities. Prices are in pounds sterling.
"""

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from stream_app.adapters.event_files import EventFileError, FileEvent
from stream_app.core.times import iso, to_ms
from stream_app.core.topics import Topic

_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "invoice": ("InvoiceNo", "Invoice"),
    "product": ("StockCode",),
    "quantity": ("Quantity",),
    "date": ("InvoiceDate",),
    "price": ("UnitPrice", "Price"),
    "customer": ("CustomerID", "Customer ID"),
    "country": ("Country",),
}
"""Our name of each column, and what the first and the second edition of the table call it."""

_DATE_FORMATS = ("%m/%d/%Y %H:%M", "%Y-%m-%d %H:%M:%S", "%m/%d/%y %H:%M", "%d/%m/%Y %H:%M")


class RetailCsv:
    """One CSV file of the table, read as a whole (an invoice's lines need not stand together), in event-time order.

    Lines without a customer are left out and counted, as are lines with a price below zero (corrections of debts).

    Parameters
    ----------
    path
        The CSV, gzipped where the name ends in .gz; UTF-8 or ISO-8859-1.

    Raises
    ------
    EventFileError
        On iteration: when a column is missing, or a number or date cannot be read; it names the line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.total_bytes = path.stat().st_size
        self.done_bytes = 0
        self.broken_lines = 0
        self.left_out = 0

    def __iter__(self) -> Iterator[FileEvent]:
        orders = self._orders()
        for number, (at_ms, order) in enumerate(sorted(orders, key=lambda entry: entry[0]), start=1):
            self.done_bytes = self.total_bytes * number // len(orders)
            yield FileEvent(Topic.ORDERS, at_ms, order["customer_id"], msgspec.json.encode(order), number)

    def _orders(self) -> list[tuple[int, dict[str, Any]]]:
        invoices: dict[str, tuple[int, dict[str, Any]]] = {}
        reader = csv.DictReader(io.StringIO(self._text(), newline=""))
        names = {key: self._column(key, reader.fieldnames or ()) for key in _COLUMNS}
        for row in reader:
            try:
                self._add(invoices, {key: (row[name] or "").strip() for key, name in names.items()})
            except ValueError as failure:
                raise EventFileError(f"{self.path}, line {reader.line_num}: {failure}") from failure
        return list(invoices.values())

    def _add(self, invoices: dict[str, tuple[int, dict[str, Any]]], row: dict[str, str]) -> None:
        quantity, price = abs(float(row["quantity"])), float(row["price"])
        if not row["customer"] or price < 0 or not quantity:
            self.left_out += 1
            return
        invoice = row["invoice"]
        if invoice not in invoices:
            at_ms = _event_ms(row["date"])
            new: dict[str, Any] = {
                "event_id": f"or-{invoice}",
                "customer_id": row["customer"].removesuffix(".0"),
                "order_id": f"or-{invoice}",
                "items": [],
                "amount": 0.0,
                "currency": "GBP",
                "status": "cancelled" if invoice.upper().startswith("C") else "completed",
                "region": row["country"] or None,
                "timestamp": iso(at_ms),
            }
            invoices[invoice] = at_ms, new
        order = invoices[invoice][1]
        order["items"].append({"product_id": row["product"], "quantity": quantity, "unit_price": price})
        order["amount"] = round(order["amount"] + quantity * price, 2)

    def _text(self) -> str:
        content = self.path.read_bytes()
        try:
            if self.path.suffix == ".gz":
                content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile) as failure:
            raise EventFileError(f"{self.path}: the gzip data are damaged or cut off ({failure})") from failure
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("iso-8859-1")

    def _column(self, key: str, present: Any) -> str:
        for name in _COLUMNS[key]:
            if name in present:
                return name
        raise EventFileError(
            f"{self.path}: there is no column {' or '.join(_COLUMNS[key])}; the preset reads the UCI Online Retail "
            f"table, whose first line is InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,..."
        )


def _event_ms(text: str) -> int:
    for form in _DATE_FORMATS:
        try:
            return to_ms(datetime.strptime(text, form).replace(tzinfo=UTC))
        except ValueError:
            continue
    raise ValueError(f"{text!r} is no invoice date: write it as 12/1/2010 8:26 or 2010-12-01 08:26:00")
