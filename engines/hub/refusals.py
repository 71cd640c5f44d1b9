"""What the hub's library raises, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import ModelFetchError, UsageError
from engines.hub.reference import Reference


@contextmanager
def explained(asked: Reference) -> Iterator[None]:
    """Raises ModelFetchError, or UsageError for a revision that there is not."""
    import httpx2
    from huggingface_hub.errors import (
        FileMetadataError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
    )

    try:
        yield
    except HfHubHTTPError as error:
        raise _of_http(asked, error) from None
    except HFValidationError as error:
        raise UsageError(f"{asked}: no name of a model on the hub: {error}") from None
    except OfflineModeIsEnabled:
        raise ModelFetchError(
            f"{asked}: HF_HUB_OFFLINE is set, so the hub is not asked; unset it to fetch"
        ) from None
    except LocalEntryNotFoundError as error:
        cause = error.__cause__
        if isinstance(cause, HfHubHTTPError):
            raise _of_http(asked, cause) from None
        raise _unreachable(asked, cause or error) from None
    except (httpx2.HTTPError, FileMetadataError) as error:
        raise _unreachable(asked, error) from None
    except OSError as error:
        raise ModelFetchError(f"{asked}: {error}") from None


def _unreachable(asked: Reference, error: BaseException) -> ModelFetchError:
    from huggingface_hub import constants

    return ModelFetchError(
        f"{asked}: the hub at {constants.ENDPOINT} cannot be reached ({type(error).__name__}); "
        "what has been fetched is kept: try again, or set HF_ENDPOINT to a mirror"
    )


def _of_http(asked: Reference, error: Exception) -> ModelFetchError | UsageError:
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    page = f"{constants.ENDPOINT}/{asked.repo}"
    has_token = bool(get_token())
    if isinstance(error, GatedRepoError):
        todo = (
            f"the token in use has no access: accept the terms at {page} with its account"
            if has_token
            else f"accept its terms at {page}, then set HF_TOKEN or run `hf auth login`"
        )
        return ModelFetchError(f"{asked} is gated: {todo}")
    if isinstance(error, RevisionNotFoundError):
        return UsageError(f"{asked}: {asked.repo} has no revision {asked.revision!r}; see {page}")
    if isinstance(error, RemoteEntryNotFoundError):
        return ModelFetchError(f"{asked}: the hub listed a file that it does not have; try again")
    if isinstance(error, RepositoryNotFoundError):
        token = (
            "the token in use cannot see it" if has_token else "it is private: then set HF_TOKEN"
        )
        return ModelFetchError(f"the hub has no model {asked.repo!r}, or {token}")
    assert isinstance(error, HfHubHTTPError)
    status = error.response.status_code
    if status == 401:
        return ModelFetchError(f"{asked}: the hub does not accept the token (HTTP 401): renew it")
    if status == 429:
        return ModelFetchError(f"{asked}: too many requests to the hub (HTTP 429): wait a while")
    return ModelFetchError(f"{asked}: the hub answers HTTP {status}; try again later")
