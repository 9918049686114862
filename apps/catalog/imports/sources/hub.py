"""A repository of the model hub, or of a mirror that speaks its API."""

from __future__ import annotations

import json
from typing import Final
from urllib.parse import quote

import httpx2
from django.conf import settings
from huggingface_hub import HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.hf_api import ModelInfo

from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.reimport import fingerprint_of
from apps.catalog.imports.sources.answers import check_status, translate
from apps.catalog.imports.sources.choose import Listed, choose_files
from apps.catalog.imports.sources.plan import Plan, RemoteFile
from apps.core.fetch_policy import FetchPolicy, FetchRefused
from apps.core.http import FetchTooLarge, open_client

LISTING_BYTES: Final = 64_000_000
LISTING_TIMEOUT_S: Final = 60.0
# model_index.json of any pipeline is a few kilobytes.
INDEX_BYTES: Final = 1_000_000


def plan_repository(options: ImportOptions, *, token: str, policy: FetchPolicy) -> Plan:
    """What of the repository to fetch. Raises ImportFailure, and Transient for what may pass.

    The listing names a commit, and files are fetched from that: a repository that changes meanwhile does
    not mix.
    """
    info = _look_up(options, token=token, policy=policy)
    commit = info.sha or options.revision or "main"
    listed = [
        Listed(name=item.rfilename, size=item.size, sha256=item.lfs.sha256 if item.lfs else "")
        for item in info.siblings or []
    ]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    index = _read_index(options, listed, commit, headers=headers, policy=policy)
    chosen = choose_files(listed, options=options, index=index)
    blobs = {item.rfilename: item.blob_id or "" for item in info.siblings or []}
    return Plan(
        files=tuple(
            RemoteFile(
                name=item.name,
                url=_file_url(options.address, commit, item.name),
                size=item.size,
                sha256=item.sha256 or _only_given(options, len(chosen)),
            )
            for item in chosen
        ),
        headers=headers,
        revision=commit,
        licence=_licence(info),
        fingerprint=_fingerprint(chosen, blobs, options.precision),
    )


def _look_up(options: ImportOptions, *, token: str, policy: FetchPolicy) -> ModelInfo:
    # The library keeps one client for the process; this one obeys the policy of this import.
    set_client_factory(lambda: open_client(policy, max_bytes=LISTING_BYTES))
    api = HfApi(endpoint=settings.HF_ENDPOINT, token=token or False, library_name="darkroom")
    try:
        return api.model_info(
            options.address,
            revision=options.revision or None,
            files_metadata=True,
            timeout=LISTING_TIMEOUT_S,
            token=token or False,
        )
    except HFValidationError:
        raise ImportFailure("source_not_found", f"{options.address} is no name of a repository.") from None
    except HfHubHTTPError as error:
        check_status(error.response, what=f"repository {options.address}")
        raise ImportFailure("download_failed", f"The listing of {options.address} cannot be read.") from error
    except (httpx2.HTTPError, FetchRefused, FetchTooLarge) as error:
        raise translate(error, what=f"the listing of {options.address}") from error
    except (ValueError, KeyError, TypeError) as error:
        # Not what the hub's API says, such as the HTML of a login page with status 200.
        raise ImportFailure(
            "download_failed", f"{settings.HF_ENDPOINT} does not answer like a model hub."
        ) from error
    finally:
        set_client_factory(_no_client)


def _no_client() -> httpx2.Client:
    raise RuntimeError("the hub's library may be used only with the client of an import")


def _read_index(
    options: ImportOptions,
    listed: list[Listed],
    commit: str,
    *,
    headers: dict[str, str],
    policy: FetchPolicy,
) -> dict[str, object]:
    """The repository's model_index.json, {} when there is none: it names the folders that count."""
    if options.file or not any(item.name == "model_index.json" for item in listed):
        return {}
    what = f"{options.address}/model_index.json"
    with open_client(policy, max_bytes=INDEX_BYTES) as client:
        try:
            response = client.get(_file_url(options.address, commit, "model_index.json"), headers=headers)
            check_status(response, what=what)
            index = json.loads(response.content)
        except (httpx2.HTTPError, FetchRefused, FetchTooLarge) as error:
            raise translate(error, what=what) from error
        except ValueError:
            raise ImportFailure("weights_corrupt", f"{what} is not JSON.") from None
    if not isinstance(index, dict):
        raise ImportFailure("weights_corrupt", f"{what} is no JSON object.")
    return index


def _file_url(repository: str, commit: str, name: str) -> str:
    return f"{settings.HF_ENDPOINT}/{repository}/resolve/{quote(commit, safe='')}/{quote(name)}"


def _only_given(options: ImportOptions, count: int) -> str:
    return options.expected_sha256.lower() if count == 1 else ""


def _fingerprint(chosen: list[Listed], blobs: dict[str, str], precision: str) -> str:
    """Empty when the hub does not say what the files contain."""
    digests = {item.name: item.sha256 or blobs.get(item.name, "") for item in chosen}
    if not all(digests.values()):
        return ""
    return fingerprint_of(digests, precision=precision)


def _licence(info: ModelInfo) -> str:
    card = info.card_data.to_dict() if info.card_data else {}  # type: ignore[no-untyped-call]  # theirs
    name = card.get("license_name") or card.get("license") or ""
    if not name:
        tags = [tag for tag in info.tags or [] if tag.startswith("license:")]
        name = tags[0].removeprefix("license:") if tags else ""
    return str(name)[:100]
