"""Small hand-written PDFs: pages with a black square in the lower left, a tenth of the page wide."""

from __future__ import annotations

from collections.abc import Sequence

A4 = (595, 842)


def pdf(
    sizes: Sequence[tuple[int, int]] = (A4,), *, encrypted: bool = False, crop: Sequence[int] = ()
) -> bytes:
    """A page per size in points; `crop` is the crop box of each."""
    box = f"/CropBox [{' '.join(map(str, crop))}] " if crop else ""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(sizes)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(sizes)} >>",
        f"<< /Filter /Standard /V 1 /R 2 /P -4 /O <{'00' * 32}> /U <{'00' * 32}> >>",
    ]
    for at, (width, height) in enumerate(sizes):
        drawn = f"0 g 0 0 {width / 10:g} {width / 10:g} re f"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width} {height}] {box}/Contents {5 + 2 * at} 0 R >>",
            f"<< /Length {len(drawn)} >>\nstream\n{drawn}\nendstream",
        ]
    return _file(objects, "/Encrypt 3 0 R /ID [<00><00>]" if encrypted else "")


def _file(objects: Sequence[str], trailer: str) -> bytes:
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    end = f"xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R {trailer} >>\n"
    return out + f"{end}startxref\n{len(out)}\n%%EOF\n".encode()
