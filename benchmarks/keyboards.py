"""Writes llmkit/perturb/data/keyboards.json from every layout of xkb-data, compiled by libxkbcommon.

python benchmarks/keyboards.py                      # needs the Debian packages xkb-data and libxkbcommon0
python benchmarks/keyboards.py --multypo DIR        # compares the tables with those of an unpacked multypo wheel
"""

from __future__ import annotations

import argparse
import ctypes
import json
import runpy
import subprocess
import unicodedata
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TABLES = ROOT / "llmkit" / "perturb" / "data" / "keyboards.json"
AGREEMENT = ROOT / "benchmarks" / "results" / "keyboards.json"
RULES = Path("/usr/share/X11/xkb/rules/evdev.xml")

# The keys of the four rows by their XKB names, so that key number c of a row lies half a key left of key c of the row
# below. Key 0 is left of the first letter: of the two in the middle no keyboard has it.
ROWS = (
    ("TLDE", *(f"AE{number:02}" for number in range(1, 13))),
    (None, *(f"AD{number:02}" for number in range(1, 13))),
    (None, *(f"AC{number:02}" for number in range(1, 12)), "BKSL"),
    ("LSGT", *(f"AB{number:02}" for number in range(1, 12))),
)
NO_KEY = " "

# ISO 639-1 code: ISO 639-3 code, and the layout where it is not the first one that xkb-data lists for the language.
LANGUAGES = """
af:afr/za am:amh/et ar:ara az:aze be:bel/by bg:bul/bg bn:ben/in(ben) bs:bos/ba ca:cat/es(cat) cs:ces da:dan
de:deu/de dv:div el:ell en:eng/us eo:epo/epo es:spa/es et:est fa:fas fi:fin fo:fao fr:fra/fr(azerty) ga:gle/ie
gu:guj/in(guj) he:heb hi:hin hr:hrv/hr hu:hun hy:hye/am(phonetic) id:ind/us is:isl it:ita/it ka:kat/ge kk:kaz
km:khm kn:kan/in(kan) ky:kir lo:lao lt:lit lv:lav mi:mri mk:mkd ml:mal/in(mal) mn:mon/mn mr:mar/in ms:msa/us
mt:mlt my:mya ne:nep/np nl:nld/us no:nor pa:pan/in(guru) pl:pol/pl ps:pus/af(ps) pt:por/pt ro:ron/ro ru:rus/ru
si:sin sk:slk/sk sl:slv sq:sqi sr:srp/rs sv:swe/se sw:swa/tz ta:tam/in(tam_tamilnet) te:tel/in(tel) tg:tgk
th:tha tk:tuk tl:fil/us tr:tur/tr uk:ukr/ua ur:urd/pk uz:uzb/uz vi:vie/vn ku:kur/tr(ku)"""

# The keyboard of KS X 5002, which xkb-data leaves to the input method; the plain jamo, and those with the shift key.
HANGUL = (
    (
        NO_KEY + "1234567890-=",
        NO_KEY + "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ[]",
        NO_KEY + "ㅁㄴㅇㄹㅎㅗㅓㅏㅣ;'\\",
        NO_KEY + "ㅋㅌㅊㅍㅠㅜㅡ,./",
    ),
    (
        NO_KEY + "!@#$%^&*()_+",
        NO_KEY + "ㅃㅉㄸㄲㅆㅛㅕㅑㅒㅖ{}",
        NO_KEY + 'ㅁㄴㅇㄹㅎㅗㅓㅏㅣ:"|',
        NO_KEY + "ㅋㅌㅊㅍㅠㅜㅡ<>?",
    ),
)


class _Names(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_char_p) for name in ("rules", "model", "layout", "variant", "options"))


class Compiler:
    """Compiles layouts with libxkbcommon, which reads the files of xkb-data."""

    def __init__(self) -> None:
        self.library = ctypes.CDLL("libxkbcommon.so.0")
        for function in ("xkb_context_new", "xkb_keymap_new_from_names"):
            getattr(self.library, function).restype = ctypes.c_void_p
        self.library.xkb_keysym_to_utf32.restype = ctypes.c_uint32
        self.context = ctypes.c_void_p(self.library.xkb_context_new(0))

    def rows(self, layout: str, variant: str) -> tuple[list[str], list[str]] | None:
        """Returns the characters of the four rows, plain and with the shift key; None for what does not compile."""
        names = _Names(b"evdev", b"pc105", layout.encode(), variant.encode(), b"")
        keymap = ctypes.c_void_p(self.library.xkb_keymap_new_from_names(self.context, ctypes.byref(names), 0))
        if not keymap:
            return None
        rows = [["".join(self._character(keymap, key, level) for key in row) for row in ROWS] for level in (0, 1)]
        self.library.xkb_keymap_unref(keymap)
        return rows[0], rows[1]

    def _character(self, keymap: ctypes.c_void_p, key: str | None, level: int) -> str:
        if key is None:
            return NO_KEY
        code = self.library.xkb_keymap_key_by_name(keymap, key.encode())
        symbols = ctypes.POINTER(ctypes.c_uint32)()
        count = self.library.xkb_keymap_key_get_syms_by_level(keymap, code, 0, level, ctypes.byref(symbols))
        character = chr(self.library.xkb_keysym_to_utf32(symbols[0])) if count == 1 else NO_KEY
        return character if unicodedata.category(character)[0] in "LMNPS" else NO_KEY


def layouts() -> Iterator[tuple[str, str, list[str]]]:
    """Yields layout, variant ("" for the first) and ISO 639-3 codes of everything that xkb-data lists."""
    for entry in ElementTree.parse(RULES).getroot().iter("layout"):
        item = entry.find("configItem")
        name, languages = item.findtext("name"), [code.text for code in item.iter("iso639Id")]
        yield name, "", languages
        for variant in entry.iter("variant"):
            codes = [code.text for code in variant.iter("iso639Id")]
            yield name, variant.findtext("configItem/name"), codes or languages


def tables() -> dict[str, Any]:
    """Returns layouts by name, the layout of each language, and where all of it is from."""
    compiler, rows_of, names_of, aliases, by_code = Compiler(), {}, {}, {}, {}
    for layout, variant, codes in sorted(layouts(), key=lambda one: bool(one[1])):
        name, rows = f"{layout}({variant})" if variant else layout, compiler.rows(layout, variant)
        if rows is None or not any(unicodedata.category(character)[0] == "L" for row in rows[0] for character in row):
            continue
        for code in codes:
            by_code.setdefault(code, name)
        key = "\n".join([*rows[0], *rows[1]])
        if key in names_of:
            aliases[name] = names_of[key]
        else:
            names_of[key], rows_of[name] = name, [row.rstrip(NO_KEY) for row in (*rows[0], *rows[1])]
    rows_of["ko"] = [*HANGUL[0], *HANGUL[1]]
    languages = {"ko": "ko"}
    for entry in LANGUAGES.split():
        code, _, rest = entry.partition(":")
        long_code, _, chosen = rest.partition("/")
        languages[code] = chosen or by_code[long_code]
    missing = {name for name in languages.values() if name not in rows_of and name not in aliases}
    assert not missing, missing
    version = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "xkb-data"], capture_output=True, text=True)
    return {
        "source": f"xkb-data {version.stdout} (MIT and X11 licences), compiled by libxkbcommon: which character each "
        "key gives, plain and with the shift key; `ko` is KS X 5002",
        "languages": dict(sorted(languages.items())),
        "aliases": aliases,
        "layouts": rows_of,
    }


# multypo's tables by the language that it names them for, and the layout that its comment names. Its twelfth, Tamil 99,
# is none of xkb-data's: the one that is called TamilNet '99 there puts other letters side by side.
_PEERS = {
    "en": "gb", "de": "de", "fr": "fr(azerty)", "el": "gr", "ru": "ru", "ar": "ara", "hi": "in",
    "hy": "am(phonetic-alt)", "ka": "ge", "he": "il", "bn": "in(ben_inscript)",
}  # fmt: skip


def agreement(folder: Path) -> dict[str, Any]:
    """Compares the letters side by side in multypo's rows with those side by side in the layouts of the same name."""
    from llmkit.perturb.keyboards import layout_named

    peers = runpy.run_path(str(folder / "multypo" / "keyboards.py"))["KEYBOARDS"]
    compared = {}
    for language, name in _PEERS.items():
        ours = layout_named(name)
        on_keys = {character for row in (*ours.rows, *ours.shifted) for character in row}
        beside = {frozenset(pair) for rows in (ours.rows, ours.shifted) for row in rows for pair in pairwise(row)}
        rows = [[key for key in row if len(key) == 1] for row in peers[language]]
        letters = {key for row in rows for key in row}
        pairs = [
            (left, right) for row in peers[language] for left, right in pairwise(row) if len(left) == len(right) == 1
        ]
        known = [pair for pair in pairs if on_keys.issuperset(pair)]
        apart = ["".join(pair) for pair in known if frozenset(pair) not in beside]
        compared[language] = {
            "layout": name,
            "letters": len(letters),
            "missing": sorted(letters - on_keys),
            "pairs": len(known),
            "apart": apart,
        }
    return {"peer": "multypo 0.1.1 (MIT)", "languages": compared}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--multypo", type=Path, help="the folder of an unpacked wheel")
    arguments = parser.parse_args()
    if arguments.multypo:
        made, path = agreement(arguments.multypo), AGREEMENT
        text = json.dumps(made, ensure_ascii=False, indent=1)
    else:
        made, path = tables(), TABLES
        lines = [f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in made.items()]
        layout_lines = [
            f"  {json.dumps(n)}: {json.dumps(rows, ensure_ascii=False)}" for n, rows in made["layouts"].items()
        ]
        lines[-1] = ' "layouts": {\n' + ",\n".join(layout_lines) + "\n }"
        text = "{\n" + ",\n".join(lines) + "\n}"
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
