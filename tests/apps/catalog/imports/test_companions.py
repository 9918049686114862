"""Entries that an import makes beside its own, and what it must be told of a cut-out network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.catalog.choices import ImportSource, Visibility
from apps.catalog.imports.conversion import Converted
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.services import retry_import
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core import clock
from apps.core.errors import Conflict, InvalidField
from gpu_runtime.weights.store import Store
from tests.apps.catalog.imports.studio import OPERATOR, TOOLS, bring_in, run, submit
from tests.apps.catalog.imports.weights_files import safetensors_bytes
from tests.factories import make_account, make_adapter
from tests.gpu_runtime.onnx_files import write_cut_out

pytestmark = pytest.mark.django_db

Convert = Callable[..., Converted]


def placed(store: Store, work: Path, name: str, content: bytes) -> dict[str, Any]:
    """A component with one file, as the child's answer has it."""
    folder = work / name
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes(content)
    found = store.place_component(folder)
    return {
        "name": name,
        "class_name": "",
        "digest": found.digest,
        "size_bytes": found.size_bytes,
        "dtype": "F16",
    }


def pair_of(adapter: bytes, encoder: bytes, **changes: Any) -> Convert:
    """Stands in for the child: an adapter and its encoder with these contents."""

    def convert(
        path: Path, *, options: ImportOptions, work: Path, donors: Sequence[Path], progress: Progress
    ) -> Converted:
        store = Store(work.parents[2])
        store.prepare()
        parts = [placed(store, work, "ip_adapter", adapter), placed(store, work, "image_encoder", encoder)]
        answer = Converted(
            kind="ip_adapter",
            family="sd15",
            variant="base",
            path=store.component(parts[0]["digest"]),
            digest=parts[0]["digest"],
            size_bytes=sum(part["size_bytes"] for part in parts),
            components=parts,
            details={"layers": 16, "image_encoder": {"width": 1280, "projected": 1024}},
        )
        return replace(answer, **changes)

    return convert


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What identification takes for an IP-adapter; the conversion is a stand-in."""
    path = tmp_path / "adapter.safetensors"
    names = ("image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight")
    path.write_bytes(safetensors_bytes({name: [4, 768] for name in names}))
    return path


def bring(file: Path, name: str, convert: Convert = TOOLS.convert, **fields: Any) -> ModelImport:
    account = fields.pop("account", None)
    options = ImportOptions(
        source=ImportSource.FOLDER, address=str(file), is_anywhere=True, name=name, **fields
    )
    return bring_in(options, account, convert=convert)


def test_adapters_with_one_encoder_share_its_entry(file: Path, model_dir: Path) -> None:
    for name in ("first", "second"):
        row = bring(file, name, pair_of(name.encode(), b"eyes"))
        assert (row.state, row.error_message) == ("succeeded", "")
    [encoder] = CatalogEntry.objects.filter(kind="preprocessor")
    assert encoder.name == "first-image-encoder"
    assert encoder.path == str(model_dir / "components" / encoder.digest)
    assert encoder.details["projected"] == 1024
    for entry in CatalogEntry.objects.filter(kind="ip_adapter"):
        assert entry.details["encoder"] == encoder.name
        assert "image_encoder" not in entry.details
        assert [part["name"] for part in entry.components] == ["ip_adapter"]
        assert entry.size_bytes == len(entry.name)


def test_a_private_encoder_is_not_lent_to_others(file: Path) -> None:
    ada, cleo = make_account("ada"), make_account("cleo")
    for account, name in ((ada, "hers"), (cleo, "theirs")):
        private = {"visibility": Visibility.PRIVATE, "account": account}
        assert bring(file, name, pair_of(name.encode(), b"eyes"), **private).state == "succeeded"
    assert bring(file, "for-all", pair_of(b"for-all", b"eyes")).state == "succeeded"
    found = {entry.name: entry for entry in CatalogEntry.objects.filter(kind="preprocessor")}
    assert {name: entry.owner for name, entry in found.items()} == {
        "hers-image-encoder": ada,
        "theirs-image-encoder": cleo,
        "for-all-image-encoder": None,
    }
    linked = {
        entry.name: entry.details["encoder"] for entry in CatalogEntry.objects.filter(kind="ip_adapter")
    }
    assert linked["theirs"] == "theirs-image-encoder"


def test_a_taken_name_gets_a_number(file: Path) -> None:
    make_adapter("plain-image-encoder", kind="preprocessor", family="", variant="image_encoder")
    assert bring(file, "plain", pair_of(b"plain", b"eyes")).state == "succeeded"
    assert CatalogEntry.objects.get(name="plain").details["encoder"] == "plain-image-encoder-2"


@pytest.mark.parametrize("digest", ["../../../etc", hashlib.sha256(b"nothing").hexdigest()])
def test_an_answer_that_points_elsewhere_makes_no_entries(file: Path, digest: str) -> None:
    good = pair_of(b"plain", b"eyes")

    def lying(path: Path, **given: Any) -> Converted:
        answer = good(path, **given)
        return replace(answer, components=[answer.components[0], {**answer.components[1], "digest": digest}])

    row = bring(file, "plain", lying)
    assert row.state == "failed"
    assert row.error_code in ("weights_corrupt", "unsupported_model")
    assert not CatalogEntry.objects.exists()


SIDES = {"image": ("n", 3, "h", "w"), "mask": ("n", 1, "h", "w")}
COLOURS: dict[str, Any] = {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1]}


def cut_out(tmp_path: Path, name: str = "mystery.onnx", **sides: Any) -> Path:
    return write_cut_out(tmp_path / name, **(sides or SIDES))


def never(path: Path, **given: Any) -> Converted:
    raise AssertionError("refused before the conversion begins")


def test_an_unknown_cut_out_network_is_asked_for_its_colours(tmp_path: Path) -> None:
    row = bring(cut_out(tmp_path), "cut", never)
    assert (row.state, row.error_code) == ("failed", "unsupported_model")
    assert "give its input_px, mean, std with the import as details" in row.error_message
    row = bring(cut_out(tmp_path), "cut", never, details={"input_px": 320, "std": [1, 1, 1]})
    assert "give its mean with" in row.error_message


def test_details_go_with_cut_out_networks_alone(file: Path, tmp_path: Path) -> None:
    row = bring(file, "plain", never, details=COLOURS)
    assert "belong to cut-out networks; this model is of kind ip_adapter" in row.error_message
    fixed = cut_out(tmp_path, image=(1, 3, 64, 64), mask=(1, 1, 64, 64))
    row = bring(fixed, "cut", never, details={**COLOURS, "input_px": 128})
    assert row.error_message == "It takes pictures of 64 pixels a side, not 128."


def as_it_is(
    path: Path, *, options: ImportOptions, work: Path, donors: Sequence[Path], progress: Progress
) -> Converted:
    store = Store(work.parents[2])
    store.prepare()
    part = placed(store, work, "cut_out", path.read_bytes())
    digest = part["digest"]
    return Converted(
        kind="background_removal",
        family="",
        variant="general",
        path=store.component(digest),
        digest=digest,
        size_bytes=part["size_bytes"],
        components=[part],
    )


def test_what_is_given_counts_more_than_what_a_name_tells(tmp_path: Path) -> None:
    row = bring(cut_out(tmp_path), "u2net-of-mine", as_it_is, details={"std": [1, 0.5, 1.0]})
    assert (row.state, row.error_message) == ("succeeded", "")
    details = CatalogEntry.objects.get(name="u2net-of-mine").details
    assert (details["input_px"], details["architecture"]) == (320, "u2net")
    assert (details["mean"], details["std"]) == (["0.485", "0.456", "0.406"], ["1", "0.5", "1.0"])


@pytest.mark.parametrize(
    ("details", "says"),
    [
        ({"colour": "red"}, "may hold input_px, mean, std, not colour"),
        ({"input_px": 16}, "whole number from 32 to 4096"),
        ({"input_px": True}, "whole number"),
        ({"mean": 0.5}, "mean must be a list of 3 numbers from -10 to 10"),
        ({"mean": [0.5, "x", 0.5]}, "mean must be"),
        ({"std": [1, 0, 1]}, "std must be a list of 3 numbers above 0 to 10"),
    ],
)
def test_details_that_cannot_be_meant_are_refused_at_once(
    details: dict[str, Any], says: str, tmp_path: Path
) -> None:
    options = ImportOptions(
        source=ImportSource.FOLDER, address=str(cut_out(tmp_path)), is_anywhere=True, details=details
    )
    with pytest.raises(InvalidField, match=says):
        submit(options)


def test_options_come_back_from_the_row_as_they_were() -> None:
    options = ImportOptions(source=ImportSource.HUB, address="lab/cut", details=COLOURS)
    assert ImportOptions.from_json(json.loads(json.dumps(options.to_json()))) == options


def test_rows_of_earlier_versions_say_nothing_of_details() -> None:
    values = ImportOptions(source=ImportSource.HUB, address="lab/cut").to_json()
    del values["details"]
    assert ImportOptions.from_json(values).details == {}


def test_options_of_a_later_version_fail_their_import_alone_and_by_name(tmp_path: Path) -> None:
    row = submit(ImportOptions(source=ImportSource.FOLDER, address=str(cut_out(tmp_path)), is_anywhere=True))
    row.options["from_later"] = True
    row.save(update_fields=["options"])
    ended = run(row)
    assert (ended.state, ended.error_code) == ("failed", "newer_version")
    assert "from_later" in ended.error_message
    with pytest.raises(Conflict, match="from_later"):
        retry_import(model_import=ended, actor=OPERATOR, now=clock.now())
