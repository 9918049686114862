"""The console's form for an import: one of three sources, and what the operator knows of the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms

from apps.accounts.models import Account
from apps.catalog.choices import ImportSource, Kind, Visibility
from apps.catalog.imports.addresses import read_source
from apps.catalog.imports.options import PRECISIONS, ImportOptions, incoming_dir
from apps.catalog.imports.watch_files import is_mark
from gpu_runtime.weights.family_facts import FAMILY_FACTS


def list_incoming() -> list[str]:
    """Names in the folder on the server that people put models into."""
    folder = incoming_dir()
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if not name.startswith(".") and not is_mark(name)]


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


class ImportForm(forms.Form):
    """A file that comes with it is written to staging before this form is looked at."""

    source = forms.CharField(
        required=False,
        max_length=2000,
        label="Hub repository or URL",
        help_text="organisation/name, organisation/name/file.safetensors, or the address of a file.",
        widget=forms.TextInput(attrs={"autofocus": True, "placeholder": "organisation/name"}),
    )
    folder = forms.ChoiceField(required=False, label="From the folder incoming on the server")
    name = forms.CharField(
        required=False, max_length=200, help_text="What clients send as model_id. Empty: from the source."
    )
    account = forms.ModelChoiceField(
        Account.objects.filter(is_active=True).order_by("slug"),
        required=False,
        empty_label="everybody",
        label="For",
        help_text="Everybody, or one account alone.",
    )
    token = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="For gated or private sources; forgotten when the import ends.",
    )
    kind = forms.ChoiceField(
        required=False, choices=[("", "any"), *Kind.choices], help_text="Anything else is refused."
    )
    family = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *((name, facts.title) for name, facts in sorted(FAMILY_FACTS.items()))],
        label="Base model",
        help_text="Models of any other are refused.",
    )
    revision = forms.CharField(required=False, max_length=200, help_text="Branch, tag or commit.")
    sha256 = forms.CharField(required=False, max_length=64, label="SHA-256 of the file")
    precision = forms.ChoiceField(
        choices=[(word, word) for word in PRECISIONS], initial="keep", required=False
    )
    tags = forms.CharField(required=False, max_length=1000, help_text="With commas.")
    trigger_words = forms.CharField(required=False, max_length=2000, help_text="With commas.")
    licence = forms.CharField(required=False, max_length=100, help_text="Empty: what the source says.")
    commercial_use = forms.NullBooleanField(
        required=False,
        label="Commercial use",
        widget=forms.Select(
            choices=[("", "what the licence says"), ("true", "allowed"), ("false", "not allowed")]
        ),
    )
    force = forms.BooleanField(required=False, label="Replace the weights of the model with this name")

    ADVANCED = (
        "kind",
        "family",
        "revision",
        "sha256",
        "precision",
        "tags",
        "trigger_words",
        "licence",
        "commercial_use",
        "force",
    )

    def __init__(self, *arguments: Any, upload: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.upload = upload
        names = list_incoming()
        field = self.fields["folder"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            ("", "nothing" if names else "the folder is empty"),
            *((name, name) for name in names),
        ]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        given = [name for name in ("source", "folder") if values.get(name)]
        given += ["file"] if self.upload else []
        if len(given) != 1:
            raise forms.ValidationError("Give one source: a repository or URL, a file, or a folder.")
        return values

    def options(self) -> ImportOptions:
        """Raises InvalidField for what only the import's own rules refuse."""
        values = self.cleaned_data
        return replace(
            self._source(),
            name=values["name"],
            kind_hint=values["kind"],
            family_hint=values["family"],
            expected_sha256=values["sha256"].strip(),
            precision=values["precision"] or "keep",
            visibility=Visibility.PRIVATE if values["account"] else Visibility.PUBLIC,
            licence=values["licence"],
            is_commercial_use_allowed=values["commercial_use"],
            tags=_words(values["tags"]),
            trigger_words=_words(values["trigger_words"]),
            token=values["token"].strip(),
            uses_server_tokens=True,
            force=values["force"],
        )

    def _source(self) -> ImportOptions:
        if self.upload:
            return ImportOptions(source=ImportSource.UPLOAD, address=self.upload)
        if self.cleaned_data["folder"]:
            path = incoming_dir() / self.cleaned_data["folder"]
            return ImportOptions(source=ImportSource.FOLDER, address=str(path), is_watched=True)
        # A path of the server is for its shell; here only the incoming folder is.
        options = read_source(self.cleaned_data["source"], may_be_path=False)
        revision = self.cleaned_data["revision"] or options.revision
        return replace(options, revision=revision)
