"""Why an import ends without a model: codes that are promises to clients, with what to do about each."""

from __future__ import annotations

from typing import Final

CODES: Final = {
    "not_weights": "The file is no model, for example a web page or a picture",
    "not_recognised": "The weights are of no architecture or format this version knows",
    "weights_corrupt": "The file is recognised but damaged",
    "unsafe_file": "The file contains code",
    "unsupported_model": "The architecture is known but cannot be used here",
    "missing_component": "A part of the model is missing; the message says what to import first",
    "disk_full": "The model folder's disk has too little room",
    "too_large": "Larger than this server imports",
    "out_of_memory": "Converting it needs more memory than the server allows",
    "timeout": "Converting it took too long",
    "no_weights": "The repository or folder holds no weights",
    "choose_file": "There are several models; name one file",
    "file_not_found": "The repository has no such file",
    "source_not_found": "There is no such repository, revision, address or path",
    "licence_required": "The account behind the token has not accepted the model's licence",
    "token_required": "The source wants a token, or refuses the one given",
    "address_refused": "The address is not one this server may fetch from",
    "download_failed": "The download broke off; a retry continues it",
    "source_changed": "The file changed on the server during the download",
    "digest_mismatch": "The file is not the one that was promised; a retry fetches it again",
    "name_taken": "The name means another model",
    "newer_version": "A newer version of this server was asked for it, in words this one does not know",
    "import_interrupted": "The import's process ended several times without a result",
    "internal_error": "A fault of this server; its log has the details",
}


class ImportFailure(Exception):
    """The import cannot be completed. Code and message are shown to whoever asked for it."""

    def __init__(self, code: str, message: str) -> None:
        if code not in CODES:
            raise ValueError(f"{code!r} is no code of an import's failure")
        super().__init__(message)
        self.code = code
        self.message = message


class Stopped(Exception):
    """The import was canceled or lost its lease; whoever raised the flag knows which."""
